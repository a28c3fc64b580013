// Shows the top items of the chosen location: bars, rank changes and sliding rows.
// @ts-check

import { element, make, setText } from './dom.js';
import { number, plural, printable } from './text.js';

/** @typedef {import('./model.js').Top} Top */
/** @typedef {import('./model.js').TopRow} TopRow */

const MARK_MS = 1_500;
const SLIDE_MS = 200;
const SLIDES_A_SECOND_MAX = 20; // more than that nobody can follow: then rows jump

/**
 * The row of an item. `from` is its position when its mark appeared (0: it was not in the list), so
 * that the mark shows the sum of several moves.
 * @typedef {{element: HTMLLIElement, rank: HTMLElement, name: HTMLElement, complete: HTMLElement,
 *            open: HTMLElement, count: HTMLElement, mark: HTMLElement, position: number,
 *            from: number, markUntil: number, slide: Animation|null, shown: string}} Row
 */

export class TopView {
  #counts = element('counts');
  #list = /** @type {HTMLOListElement} */ (element('items'));
  #reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
  /** @type {Map<string, Row>} */ #rows = new Map();
  #viewKey = '';
  /** @type {number[]} */ #slides = []; // when rows slid within the last second
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #markTimer;

  /** @param {Top} top @param {string} viewKey when it changes, rows neither slide nor get marks */
  render(top, viewKey) {
    const now = performance.now();
    const sameView = viewKey === this.#viewKey && this.#rows.size > 0;
    this.#viewKey = viewKey;
    this.#counts.style.setProperty('--digits', String(number(top.total).length + 1));
    const moved = this.#place(top.rows, sameView, now);
    this.#fill(top);
    if (sameView) this.#showMarks(now);
    if (moved.length > 0) this.#slide(moved, now);
  }

  /**
   * Makes the list's elements match `rows` and their order.
   * @param {TopRow[]} rows @param {boolean} sameView @param {number} now
   * @returns {{row: Row, y: number}[]} the rows that moved, with their old places
   */
  #place(rows, sameView, now) {
    if (!sameView) this.#clear();
    const items = new Set(rows.map((row) => row.item));
    const moved = [];
    const mayMove = sameView && !this.#reducedMotion.matches && !document.hidden;
    for (const { item, position } of rows) {
      const row = this.#rows.get(item);
      if (mayMove && row !== undefined && row.position !== position) {
        moved.push({ row, y: row.element.getBoundingClientRect().top });
      }
    }
    for (const [item, row] of this.#rows) {
      if (items.has(item)) continue;
      row.element.remove();
      this.#rows.delete(item);
    }
    let next = this.#list.firstElementChild;
    for (const { item, position } of rows) {
      let row = this.#rows.get(item);
      if (row === undefined) {
        row = newRow(item);
        this.#rows.set(item, row);
        if (sameView) row.markUntil = now + MARK_MS;
      } else if (row.position !== position) {
        if (now >= row.markUntil) row.from = row.position;
        row.markUntil = now + MARK_MS;
      }
      row.position = position;
      if (row.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row.element, next);
    }
    return moved;
  }

  #clear() {
    for (const row of this.#rows.values()) row.element.remove();
    this.#rows.clear();
  }

  /** @param {Top} top */
  #fill(top) {
    const largest = Math.max(1, ...top.rows.map((row) => row.count));
    for (const { item, rank, count, provisional } of top.rows) {
      const row = /** @type {Row} */ (this.#rows.get(item));
      const shown = `${rank} ${count} ${provisional} ${largest}`;
      if (shown === row.shown) continue;
      row.shown = shown;
      setText(row.rank, String(rank));
      setText(row.count, number(count));
      row.complete.style.setProperty('width', `${(100 * (count - provisional)) / largest}%`);
      row.open.style.setProperty('width', `${(100 * provisional) / largest}%`);
      row.count.title = `${number(count - provisional)} complete, ${number(provisional)} provisional`;
    }
    setText(element('total'), number(top.total));
    setText(element('sum'), number(top.total));
    setText(element('other'), number(top.other));
    const others = Math.max(0, top.items - top.rows.length);
    setText(element('other-name'), others === 0 ? 'other' : `other, ${plural(others, 'item', 'items')}`);
  }

  /** @param {number} now */
  #showMarks(now) {
    let next = Infinity;
    for (const row of this.#rows.values()) {
      const live = now < row.markUntil;
      const up = row.from - row.position;
      let text = '';
      if (live && row.from === 0) text = 'new';
      else if (live && up !== 0) text = up > 0 ? `▲${up}` : `▼${-up}`;
      setText(row.mark, text);
      row.mark.classList.toggle('up', text !== '' && (row.from === 0 || up > 0));
      if (live) next = Math.min(next, row.markUntil);
    }
    clearTimeout(this.#markTimer);
    if (next < Infinity) {
      this.#markTimer = setTimeout(() => this.#showMarks(performance.now()), next - now + 10);
    }
  }

  /** FLIP animation from a row's old place to its new one. @param {{row: Row, y: number}[]} moved */
  #slide(moved, /** @type {number} */ now) {
    this.#slides = this.#slides.filter((at) => now - at < 1000);
    for (const { row } of moved) row.slide?.cancel();
    if (this.#slides.length + moved.length > SLIDES_A_SECOND_MAX) return;
    const distances = moved.map(({ row, y }) => y - row.element.getBoundingClientRect().top);
    moved.forEach(({ row }, index) => {
      this.#slides.push(now);
      row.slide = row.element.animate(
        [{ transform: `translateY(${distances[index]}px)` }, { transform: 'none' }],
        { duration: SLIDE_MS, easing: 'cubic-bezier(.2, .7, .3, 1)' },
      );
    });
  }
}

/** @param {string} item @returns {Row} */
function newRow(item) {
  const name = printable(item);
  const row = {
    element: make('li', 'item'),
    rank: make('span', 'rank'),
    name: make('span', 'name', name),
    complete: make('span', 'complete'),
    open: make('span', 'open'),
    count: make('span', 'count'),
    mark: make('span', 'mark'),
    position: 0,
    from: 0,
    markUntil: 0,
    slide: null,
    shown: '',
  };
  row.name.dir = 'auto';
  row.name.title = name;
  row.mark.setAttribute('aria-hidden', 'true'); // the status line announces changes
  const bar = make('span', 'bar');
  bar.setAttribute('aria-hidden', 'true');
  bar.append(row.complete, row.open);
  row.element.append(row.rank, row.name, bar, row.count, row.mark);
  return row;
}
