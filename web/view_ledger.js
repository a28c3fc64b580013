// Shows the ledger: every event has exactly one outcome, and the sum adds up.
// @ts-check

import { element, make, setHidden, setText } from './dom.js';
import { sumOfOutcomes } from './model.js';
import { number, plural } from './text.js';

/** @typedef {import('./model.js').Ledger} Ledger */

const RULE = 'Every event gets exactly one outcome, so the sum always adds up. Point at a number to see what it means.';

/** @type {{key: keyof Ledger, label: string, before: string, what: (ledger: Ledger) => string}[]} */
const TERMS = [
  {
    key: 'received', label: 'received', before: '',
    what: (ledger) => `Received: all events in the log, whatever became of them. ${
      plural(ledger.heartbeats, 'heartbeat', 'heartbeats')} (“alive, nothing seen”) counted separately.`,
  },
  {
    key: 'counted', label: 'counted', before: '=',
    what: () => 'Counted: seen for the first time, and in time. It adds one to its window.',
  },
  {
    key: 'duplicate', label: 'duplicate', before: '+',
    what: (ledger) => `Duplicate: a detection with this id came before. It is dropped, so that nothing counts twice. ${
      plural(ledger.conflicts, 'conflict', 'conflicts')}: copies with a different camera, location or item.`,
  },
  {
    key: 'too_late', label: 'too late', before: '+',
    what: () => 'Too late: so far behind its camera that a duplicate could no longer be recognised. It is kept and can be sent again.',
  },
  {
    key: 'future', label: 'future', before: '+',
    what: () => 'Future: its time is too far ahead of the log’s clock, so the camera’s clock must be wrong. It is kept and can be sent again.',
  },
  {
    key: 'malformed', label: 'malformed', before: '+',
    what: () => 'Malformed: it cannot be read, or a field is missing or invalid. Its bytes and the reason are kept.',
  },
  {
    key: 'outside', label: 'outside', before: '+',
    what: () => 'Outside: its time is outside the range that this pipeline counts. Another pipeline counts it.',
  },
];

export class LedgerView {
  #section = element('ledger');
  #balance = element('balance');
  #what = element('term-what');
  /** @type {HTMLElement[]} */ #values = [];
  /** @type {HTMLElement[]} */ #buttons = [];
  #explained = -1; // the term under the pointer or with the focus; -1: none
  /** @type {Ledger|null} */ #ledger = null;

  constructor() {
    const box = element('terms');
    TERMS.forEach((term, index) => {
      const button = make('button', `term ${term.key}`);
      button.type = 'button';
      button.setAttribute('aria-describedby', 'term-what');
      const value = make('span', 'value', '–');
      button.append(make('span', 'operator', term.before), value, make('span', 'label', term.label));
      for (const type of ['pointerenter', 'focus', 'click']) {
        button.addEventListener(type, () => this.#explain(index));
      }
      for (const type of ['pointerleave', 'blur']) {
        button.addEventListener(type, () => this.#explain(this.#buttons.indexOf(
          /** @type {HTMLElement} */ (document.activeElement))));
      }
      this.#values.push(value);
      this.#buttons.push(button);
      box.append(button);
    });
    this.#explain(-1);
  }

  /** @param {Ledger|null} ledger */
  render(ledger) {
    if (ledger !== null && ledger === this.#ledger) return;
    setHidden(this.#section, ledger === null || ledger.received === 0);
    this.#ledger = ledger;
    if (ledger === null) return;
    TERMS.forEach(({ key }, index) => {
      setText(this.#values[index], number(ledger[key]));
      this.#buttons[index].classList.toggle('zero', ledger[key] === 0);
    });
    const difference = ledger.received - sumOfOutcomes(ledger);
    this.#balance.classList.toggle('broken', difference !== 0);
    const lost = ledger.lost > 0 ? ` · ${plural(ledger.lost, 'offset', 'offsets')} lost before being counted` : '';
    setText(this.#balance, (difference === 0 ? '✓ balances'
      : `✗ does not balance: ${number(Math.abs(difference))} ${difference > 0 ? 'without an outcome' : 'too many outcomes'}`) + lost);
    this.#explain(this.#explained);
  }

  /** @param {number} index */
  #explain(index) {
    this.#explained = index;
    const term = TERMS[index];
    setText(this.#what, term === undefined || this.#ledger === null ? RULE : term.what(this.#ledger));
  }
}
