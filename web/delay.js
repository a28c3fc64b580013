// Measures the delay from a change in the server's live counts until this page has painted it.
// @ts-check

const SPAN_MS = 10_000;
const SAMPLES_MAX = 1_000;
const SAME_CLOCK_MS = 1_000;

export class Delay {
  /** @type {number[]} */ #waiting = []; // changed_at of the changes that the next frame paints
  /** @type {{at: number, ms: number}[]} */ #samples = [];
  #newest = 0;
  #skew = Infinity; // this clock minus the server's: the least seen, as each includes a travel time
  #frames = new MessageChannel();

  constructor() {
    // A message posted within a frame arrives after the frame: the earliest sign that it was painted.
    this.#frames.port1.onmessage = (event) => this.#painted(event.data);
  }

  /** Takes the server's clock from a message. @param {number} serverNow */
  heard(serverNow) {
    this.#skew = Math.min(this.#skew, Date.now() - serverNow);
  }

  /**
   * A change came. `openedAt` is when its connection began: older changes are no samples, because
   * the page was not connected. Nor is a change that has nothing newer (only the window moved).
   * @param {number|undefined} changedAt @param {number} openedAt
   */
  changed(changedAt, openedAt) {
    if (changedAt === undefined || !(changedAt > this.#newest)) return;
    this.#newest = changedAt;
    if (changedAt - openedAt + this.#correction() >= 0 && this.#waiting.length < SAMPLES_MAX) {
      this.#waiting.push(changedAt);
    }
  }

  /** Call it in the frame that paints the changes. */
  committed() {
    if (this.#waiting.length === 0) return;
    this.#frames.port2.postMessage(this.#waiting);
    this.#waiting = [];
  }

  /** Drops changes that are not painted (hidden page, paused): they are no samples. */
  forget() {
    this.#waiting = [];
  }

  /** The median of the last 10 s in ms; null if there was no change. */
  median() {
    const now = Date.now();
    this.#samples = this.#samples.filter((sample) => now - sample.at < SPAN_MS);
    if (this.#samples.length === 0) return null;
    const sorted = this.#samples.map((sample) => sample.ms).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)];
  }

  /** The difference between two machines' clocks; 0 where it is so small that they may be one. */
  #correction() {
    return this.#skew < 0 || (this.#skew > SAME_CLOCK_MS && this.#skew < Infinity) ? this.#skew : 0;
  }

  /** @param {number[]} changes */
  #painted(changes) {
    const now = Date.now();
    for (const changedAt of changes) {
      this.#samples.push({ at: now, ms: Math.max(0, now - changedAt - this.#correction()) });
    }
    if (this.#samples.length > SAMPLES_MAX) this.#samples.splice(0, this.#samples.length - SAMPLES_MAX);
  }
}
