// The ledger: every event has exactly one outcome, and the page shows that the sum adds up.
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
    what: (ledger) => `Received: all events the log holds, whatever became of them. ${
      plural(ledger.heartbeats, 'heartbeat', 'heartbeats')} (“alive, nothing seen”) counted apart.`,
  },
  {
    key: 'counted', label: 'counted', before: '=',
    what: () => 'Counted: seen for the first time, and in time. One more in its window.',
  },
  {
    key: 'duplicate', label: 'duplicate', before: '+',
    what: (ledger) => `Duplicate: a detection with this id was there already; dropped, so nothing counts twice. ${
      plural(ledger.conflicts, 'conflict', 'conflicts')}: copies with another camera, location or item.`,
  },
  {
    key: 'too_late', label: 'too late', before: '+',
    what: () => 'Too late: too far behind its own camera to still tell whether it is a duplicate. Kept, and can be sent again.',
  },
  {
    key: 'future', label: 'future', before: '+',
    what: () => 'Future: its time lies too far ahead of the log’s clock, so its camera’s clock is wrong. Kept, and can be sent again.',
  },
  {
    key: 'malformed', label: 'malformed', before: '+',
    what: () => 'Malformed: cannot be read, or a field is missing or breaks its rule. Its bytes and the reason are kept.',
  },
  {
    key: 'outside', label: 'outside', before: '+',
    what: () => 'Outside: outside the span of time that this pipeline counts; another one counts it.',
  },
];

export class LedgerView {
  #section = element('ledger');
  #balance = element('balance');
  #what = element('term-what');
  /** @type {HTMLElement[]} */ #values = [];
  /** @type {HTMLElement[]} */ #buttons = [];
  #explained = -1; // which term is pointed at or has the focus
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
    const lost = ledger.lost > 0 ? ` · lost before they were counted: ${plural(ledger.lost, 'offset', 'offsets')}` : '';
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
