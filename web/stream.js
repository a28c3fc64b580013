// The connection to GET /v1/stream: one view at a time, resumed by Last-Event-ID, never given up.
//
// By fetch, not EventSource: EventSource cannot be told a Last-Event-ID (needed after a silence that
// it does not notice), hides the server's reason for a refusal, and waits a fixed time to retry.
// @ts-check

import { SseParser } from './sse.js';

/** @typedef {import('./model.js').Outcome} Outcome */

export const SILENCE_MS = 3_000; // the server speaks once a second; silent for this long = gone
const ANSWER_MS_MAX = 8_000; // for the response's head
const BACKOFF_MS_MIN = 250;
const BACKOFF_MS_MAX = 5_000;
const RETRY_AFTER_MS_MAX = 30_000;

/** The server's refusal, in its words. */
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
  retryAt = 0; // when the next try is due; 0: none is waiting
  failures = 0; // in a row
  problem = ''; // why the last try failed

  #url = '';
  #lastId = '';
  /** @type {AbortController|null} */ #attempt = null;
  #streaming = false; // the running attempt has its response
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  /** @type {(event: string, data: any) => Outcome} */ #onEvent;
  /** @type {() => void} */ #onStatus;

  /**
   * @param {(event: string, data: any) => Outcome} onEvent must say what became of the event: only
   *     applied ones move the id to resume from
   * @param {() => void} onStatus one of the public fields changed
   */
  constructor(onEvent, onStatus) {
    this.#onEvent = onEvent;
    this.#onStatus = onStatus;
  }

  /** Another view: nothing of the one before can be resumed. @param {string} url */
  open(url) {
    this.#url = url;
    this.#lastId = '';
    this.failures = 0;
    this.problem = '';
    this.#connect();
  }

  /** Let go of the connection; nudge() takes it up again where it was. */
  close() {
    this.#abort();
    this.#onStatus();
  }

  /** A reason to believe that it works now, or that silence has another reason: try at once. */
  nudge() {
    if (this.#url === '' || (this.#streaming && Date.now() - this.lastWordAt < SILENCE_MS)) return;
    this.#connect();
  }

  /** Call a few times a second: notices a connection that is open but silent. */
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
      this.#lastId = ''; // only a snapshot helps; as a failure, so that it cannot become a fast loop
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
    // Half of it fixed, half random: viewers of a server that came back do not come all at once.
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
    // No problem+json: the status says it.
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
