// The state line: says whether the page shows the present, and if not, how old its numbers are.
// @ts-check

import { element, setAttribute, setHidden, setText } from './dom.js';
import { age, isTime, number, plural, printable, time, windowSentence, zoneName } from './text.js';

/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('./stream.js').Stream} Stream */
/** @typedef {'starting'|'connecting'|'live'|'resuming'|'reconnecting'|'stale'|'unreachable'} State */

const RECONNECTING_MS = 3_000; // after this silence of the server
const STALE_MS = 10_000;
const GRACE_MS = 300; // a connection that is made faster needs no message
const RESUMING_MS = 1_500; // after waking up, when the next heartbeat may be a second away

/** @type {Record<State, string>} */
const WORDS = {
  starting: 'Connecting',
  connecting: 'Connecting',
  live: 'Live',
  resuming: 'Resuming',
  reconnecting: 'Reconnecting',
  stale: 'Stale',
  unreachable: 'No connection',
};

/**
 * @param {{now: number, startedAt: number, wokeAt: number, lastWordAt: number, problem: string}} facts
 *     times on this machine's clock; `wokeAt` is when the page was last shown again
 * @returns {State}
 */
export function stateOf({ now, startedAt, wokeAt, lastWordAt, problem }) {
  if (lastWordAt === 0) {
    if (problem !== '') return 'unreachable';
    return now - startedAt < GRACE_MS ? 'starting' : 'connecting';
  }
  const silence = now - lastWordAt;
  if (silence < RECONNECTING_MS) return 'live';
  if (now - wokeAt < RESUMING_MS) return 'resuming';
  return silence < STALE_MS ? 'reconnecting' : 'stale';
}

export class StateView {
  #section = element('state');
  #zone = zoneName();

  constructor() {
    setText(element('zone'), `Clock, ${this.#zone}`);
  }

  /**
   * @param {State} state @param {Model} shown what is painted @param {Stream} stream
   * @param {{now: number, window: string, paused: boolean, allTotal: number|null, delayMs: number|null}} facts
   */
  render(state, shown, stream, facts) {
    const paused = facts.paused && state === 'live';
    setAttribute(this.#section, 'data-state', paused ? 'paused' : state);
    setAttribute(document.documentElement, 'data-connection', state);
    setText(element('state-word'), paused ? 'Paused' : WORDS[state]);
    setText(element('state-sentence'), sentence(state, shown, stream, facts));
    setHidden(element('retry'), !(state === 'reconnecting' || state === 'stale' || state === 'unreachable'));
    setText(element('clock'), isTime(shown.now) ? time(shown.now) : '–');
    setText(element('delay'), facts.delayMs === null ? '–' : `${number(facts.delayMs)} ms`);
    const complete = shown.completeUntil;
    setText(element('complete'), isTime(complete) ? time(/** @type {number} */ (complete), shown.now) : '–');
  }
}

/**
 * @param {State} state @param {Model} shown @param {Stream} stream
 * @param {{now: number, window: string, paused: boolean, allTotal: number|null}} facts
 */
function sentence(state, shown, stream, { now, window, paused, allTotal }) {
  switch (state) {
    case 'starting':
    case 'resuming':
      return '';
    case 'connecting':
      return 'Waiting for the server’s answer.';
    case 'unreachable':
      return `${capitalised(printable(stream.problem))}. ${nextTry(stream, now)}`;
    case 'reconnecting':
      return `The server has been silent for ${age(now - stream.lastWordAt)}. Showing ${time(shown.now)}. ${nextTry(stream, now)}`;
    case 'stale':
      return `Connection lost${reason(stream)}. Showing ${time(shown.now)}, now ${age(now - stream.lastWordAt)} old. ${nextTry(stream, now)}`;
    case 'live':
  }
  if (paused) return `Showing ${time(shown.now)}. Counting continues; the latest numbers appear when you resume.`;
  if (shown.ledger?.received === 0) return 'Waiting for the first detection.';
  if (shown.top === null) return '';
  const places = plural(shown.locations().length, 'location', 'locations');
  return `${places}, ${plural(allTotal ?? 0, 'detection', 'detections')} ${windowSentence(window)}.`;
}

/** @param {Stream} stream */
function reason(stream) {
  return stream.problem === '' ? '' : `: ${printable(stream.problem)}`;
}

/** @param {Stream} stream @param {number} now */
function nextTry(stream, now) {
  if (stream.retryAt === 0) return 'Trying now.';
  return `Next try in ${Math.max(1, Math.ceil((stream.retryAt - now) / 1000))} s.`;
}

/** @param {string} text */
function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
