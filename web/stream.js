// The connection to GET /v1/stream. It serves one view at a time, resumes by Last-Event-ID and never
// gives up.
//
// It uses fetch, not EventSource, because EventSource accepts no Last-Event-ID (needed after a silence
// that it does not notice), hides the server's reason for a refusal, and retries after a fixed time.
// @ts-check

import { SseParser } from './sse.js';

/** @typedef {import('./model.js').Outcome} Outcome */

export const SILENCE_MS = 3_000; // the server sends something every second; after this it is gone
const ANSWER_MS_MAX = 8_000; // until the response's head
const BACKOFF_MS_MIN = 250;
const BACKOFF_MS_MAX = 5_000;
const RETRY_AFTER_MS_MAX = 30_000;

/** A refusal with the server's own text. */
class Refusal extends Error {
  /** @param {string} message @param {number} retryAfterMs */
  constructor(message, retryAfterMs) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

export class Stream {
  lastWordAt = 0; // Date.now() of the last event, of any view; 0: none yet
  openedAt = 0; // Date.now() of the running connection's start
  retryAt = 0; // when the next attempt is due; 0: none is scheduled
  failures = 0; // in a row
  problem = ''; // why the last attempt failed

  #url = '';
  #lastId = '';
  /** @type {AbortController|null} */ #attempt = null;
  #streaming = false; // the present attempt has its response
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  /** @type {(event: string, data: any) => Outcome} */ #onEvent;
  /** @type {() => void} */ #onStatus;

  /**
   * @param {(event: string, data: any) => Outcome} onEvent returns what became of the event; after a
   *     gap the stream does not resume but asks for a snapshot
   * @param {() => void} onStatus one of the public fields changed
   */
  constructor(onEvent, onStatus) {
    this.#onEvent = onEvent;
    this.#onStatus = onStatus;
  }

  /** Opens another view, which cannot resume the previous one. @param {string} url */
  open(url) {
    this.#url = url;
    this.#lastId = '';
    this.failures = 0;
    this.problem = '';
    this.#connect();
  }

  /** Closes the connection; nudge() resumes it. */
  close() {
    this.#abort();
    this.#onStatus();
  }

  /** Tries at once, because there is a reason to believe that the connection works now. */
  nudge() {
    if (this.#url === '' || (this.#streaming && Date.now() - this.lastWordAt < SILENCE_MS)) return;
    this.#connect();
  }

  /** Notices a connection that is open but silent. Call it a few times a second. */
  watch() {
    if (this.#streaming && Date.now() - Math.max(this.lastWordAt, this.openedAt) > SILENCE_MS) {
      this.#fail(new Error(`the server was silent for ${SILENCE_MS / 1000} s`));
    }
  }

  #abort() {
    clearTimeout(this.#timer);
    this.retryAt = 0;
    this.#streaming = false;
    this.#attempt?.abort();
    this.#attempt = null;
  }

  #connect() {
    this.#abort();
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#timer = setTimeout(() => {
      this.#fail(new Error(`no answer within ${ANSWER_MS_MAX / 1000} s`));
    }, ANSWER_MS_MAX);
    this.#onStatus();
    this.#read(attempt).then(
      () => attempt === this.#attempt && this.#fail(new Error('the server ended the stream')),
      (error) => attempt === this.#attempt && this.#fail(error),
    );
  }

  /** @param {AbortController} attempt */
  async #read(attempt) {
    /** @type {Record<string, string>} */
    const headers = { Accept: 'text/event-stream' };
    if (this.#lastId !== '') headers['Last-Event-ID'] = this.#lastId;
    const response = await fetch(this.#url, { headers, cache: 'no-store', signal: attempt.signal });
    if (attempt !== this.#attempt) return;
    if (!response.ok || response.body === null) throw await refusalOf(response);
    clearTimeout(this.#timer);
    this.#streaming = true;
    this.openedAt = Date.now();

    const parser = new SseParser((message) => {
      if (attempt === this.#attempt) this.#message(message.id, message.event, message.data);
    });
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    while (attempt === this.#attempt) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.push(decoder.decode(value, { stream: true }));
    }
  }

  /** @param {string} id @param {string} event @param {string} text */
  #message(id, event, text) {
    /** @type {Outcome|'unreadable'} */ let outcome = 'unreadable';
    try {
      outcome = this.#onEvent(event, JSON.parse(text));
    } catch (error) {
      console.error('a message of the stream could not be read', error);
    }
    if (outcome === 'gap' || outcome === 'unreadable') {
      // Only a snapshot helps. It counts as a failure, so that the backoff prevents a fast loop.
      this.#lastId = '';
      throw new Error(outcome === 'gap' ? 'a message was missing' : 'a message could not be read');
    }
    this.#lastId = id;
    this.lastWordAt = Date.now();
    this.failures = 0;
    this.problem = '';
    this.#onStatus();
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#abort();
    const backoff = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.failures);
    const wanted = error instanceof Refusal ? error.retryAfterMs : 0;
    // Half of the wait is random, so that viewers do not all return at once when the server is back.
    const wait = Math.max(backoff * (0.5 + Math.random() / 2), wanted);
    this.failures += 1;
    this.problem = describe(error);
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#onStatus();
  }
}

/** @param {Response} response */
async function refusalOf(response) {
  let text = `the server answered ${response.status}`;
  try {
    const problem = await response.json();
    if (typeof problem.title === 'string') text = `${problem.title} (${response.status})`;
    if (typeof problem.detail === 'string') text += `: ${problem.detail}`;
  } catch {
    // Not problem+json: the status must do.
  }
  const seconds = Number(response.headers.get('Retry-After') ?? 0);
  const retryAfterMs = seconds > 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : 0;
  return new Refusal(text, retryAfterMs);
}

/** @param {unknown} error */
function describe(error) {
  if (error instanceof TypeError) return 'the server cannot be reached'; // what fetch throws
  return error instanceof Error ? error.message : String(error);
}
