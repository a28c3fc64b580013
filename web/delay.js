// Measured delay: from a change reaching the server's live counts to its being painted here.
// @ts-check

const SPAN_MS = 10_000;
const SAMPLES_MAX = 1_000;
const SAME_CLOCK_MS = 1_000;

export class Delay {
  /** @type {number[]} */ #waiting = []; // changed_at of what the next frame paints
  /** @type {{at: number, ms: number}[]} */ #samples = [];
  #newest = 0;
  #skew = Infinity; // this clock minus the server's, at most: the smallest seen, it includes a way
  #frames = new MessageChannel();

  constructor() {
    // Posted within a frame, it arrives after that frame: the earliest a page can know of its paint.
    this.#frames.port1.onmessage = (event) => this.#painted(event.data);
  }

  /** The server's clock, as heard now. @param {number} serverNow */
  heard(serverNow) {
    this.#skew = Math.min(this.#skew, Date.now() - serverNow);
  }

  /**
   * A change came; `openedAt` is when its connection began: older changes were not late, we were
   * away. One without anything newer (the window moved on) is no sample either.
   * @param {number|undefined} changedAt @param {number} openedAt
   */
  changed(changedAt, openedAt) {
    if (changedAt === undefined || !(changedAt > this.#newest)) return;
    this.#newest = changedAt;
    if (changedAt - openedAt + this.#correction() >= 0 && this.#waiting.length < SAMPLES_MAX) {
      this.#waiting.push(changedAt);
    }
  }

  /** In the frame that paints what changed() was told of. */
  committed() {
    if (this.#waiting.length === 0) return;
    this.#frames.port2.postMessage(this.#waiting);
    this.#waiting = [];
  }

  /** What was not painted (hidden page, paused) is no sample. */
  forget() {
    this.#waiting = [];
  }

  /** Median of the last 10 s in ms; null without a change in them. */
  median() {
    const now = Date.now();
    this.#samples = this.#samples.filter((sample) => now - sample.at < SPAN_MS);
    if (this.#samples.length === 0) return null;
    const sorted = this.#samples.map((sample) => sample.ms).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)];
  }

  /** Two machines' clocks that differ too much to be one: their difference is taken out. */
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
