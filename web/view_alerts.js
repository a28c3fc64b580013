// Shows the active alerts as text, and nothing when there are none.
//
// The stream's heartbeat shows when an alert has started or ended; then this view fetches the list.
// @ts-check

import { element, make, setHidden, setText } from './dom.js';
import { plural, printable, time } from './text.js';

/** @typedef {{rule: string, subject: string, since: number, text: string}} Alert */

const RETRY_MS = 5_000;
const SHOWN_MAX = 50; // if the server sends more, the first ones are shown

export class AlertsView {
  #wanted = ''; // boot and version from the stream
  #known = ''; // boot and version of the list on screen
  #asking = false;
  #retryAt = 0;
  /** @type {Alert[]} */ #alerts = [];
  /** @type {() => void} */ #onNews;

  /** @param {() => void} onNews the list has changed: render() shows it */
  constructor(onNews) {
    this.#onNews = onNews;
  }

  /** Takes the version from the stream; null: the server has no alerts. @param {string} boot @param {number|null} version */
  heard(boot, version) {
    if (version === null) return;
    this.#wanted = `${boot} ${version}`;
    if (this.#wanted === this.#known || this.#asking || Date.now() < this.#retryAt) return;
    this.#asking = true;
    this.#ask(this.#wanted).catch(() => {
      this.#retryAt = Date.now() + RETRY_MS; // the state line shows that the server is unavailable
    }).finally(() => {
      this.#asking = false;
    });
  }

  /** @param {number} now of the server */
  render(now) {
    setHidden(element('alerts'), this.#alerts.length === 0);
    setText(element('alerts-count'), plural(this.#alerts.length, 'alert', 'alerts'));
    const list = element('alerts-list');
    this.#alerts.slice(0, SHOWN_MAX).forEach((alert, index) => {
      const row = list.children[index] ?? list.appendChild(rowOf());
      setText(row.children[0], printable(alert.rule.replaceAll('_', ' ')));
      setText(row.children[1], printable(alert.text));
      setText(row.children[2], `since ${time(alert.since, now)}`);
    });
    while (list.children.length > Math.min(this.#alerts.length, SHOWN_MAX)) list.lastElementChild?.remove();
  }

  /** @param {string} wanted */
  async #ask(wanted) {
    const response = await fetch('v1/alerts', { cache: 'no-store' });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    /** @type {{alerts: Alert[]}} */
    const { alerts } = await response.json();
    this.#alerts = alerts.filter(isAlert);
    this.#known = wanted;
    this.#onNews();
  }
}

/** @param {any} alert */
function isAlert(alert) {
  return typeof alert?.rule === 'string' && typeof alert.text === 'string' && typeof alert.since === 'number';
}

function rowOf() {
  const row = make('li', 'alert');
  row.append(make('strong', 'alert-rule'), make('span', 'alert-text'), make('span', 'quiet alert-since'));
  return row;
}
