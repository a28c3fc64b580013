// Parses server-sent events as the HTML standard says. Pure: no I/O, no clock.
// @ts-check

/** @typedef {{id: string, event: string, data: string}} ServerSentEvent */

// A longer line is not a message of ours: stop rather than grow without bound.
const LINE_CHARACTERS_MAX = 32 << 20;

export class SseParser {
  /** @type {(event: ServerSentEvent) => void} */ #dispatch;
  #rest = '';
  #id = '';
  #event = '';
  /** @type {string[]} */ #data = [];
  #started = false;
  #afterReturn = false; // the last chunk ended with "\r": a "\n" that follows belongs to it

  /** @param {(event: ServerSentEvent) => void} dispatch */
  constructor(dispatch) {
    this.#dispatch = dispatch;
  }

  /** Takes a piece of the stream, which may end anywhere. @param {string} text */
  push(text) {
    if (text === '') return;
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith('\ufeff')) text = text.slice(1);
    }
    if (this.#afterReturn && text.startsWith('\n')) text = text.slice(1);
    this.#afterReturn = text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = /** @type {string} */ (lines.pop());
    if (this.#rest.length > LINE_CHARACTERS_MAX) throw new Error('a line of the stream is too long');
    for (const line of lines) this.#line(line);
  }

  /** @param {string} line */
  #line(line) {
    if (line === '') {
      if (this.#data.length > 0) {
        this.#dispatch({ id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') });
      }
      this.#event = '';
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }
}
