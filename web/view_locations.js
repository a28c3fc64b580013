// The list of locations. It may be of any length, but only a screenful has elements (a virtual list).
// @ts-check

import { element, make, setAttribute, setHidden, setText } from './dom.js';
import { locationName, number, printable } from './text.js';

/** @typedef {import('./model.js').Location} Location */
/** @typedef {import('./model.js').Model} Model */
/**
 * @typedef {{oid: string, element: HTMLLIElement, link: HTMLAnchorElement, name: HTMLElement,
 *            item: HTMLElement, total: HTMLElement, index: number}} Row
 */

const ALL = 'all';
const ROWS_BEYOND = 6; // rendered above and below the visible rows

export class LocationsView {
  #scroll = element('locations-scroll');
  #list = element('locations-list');
  #filter = /** @type {HTMLInputElement} */ (element('filter'));
  #coarse = matchMedia('(pointer: coarse)');
  /** @type {(oid: string) => void} */ #choose;
  /** @type {(oid: string) => string} */ #addressOf;
  /** @type {() => void} */ #changed;
  /** @type {string[]} */ #oids = [ALL]; // the rows that match the filter, "All locations" first
  /** @type {Map<string, number>} */ #indexOf = new Map([[ALL, 0]]);
  /** @type {Map<string, Row>} */ #rows = new Map(); // the rows that have an element
  #active = ALL; // the row that Tab reaches; arrows move it
  #filteredBy = '';
  #filteredVersion = -1;
  #rowHeight = 0;

  /**
   * @param {(oid: string) => void} choose @param {(oid: string) => string} addressOf a location's URL
   * @param {() => void} changed called when this view must be painted
   */
  constructor(choose, addressOf, changed) {
    this.#choose = choose;
    this.#addressOf = addressOf;
    this.#changed = changed;
    this.#scroll.addEventListener('scroll', changed, { passive: true });
    new ResizeObserver(changed).observe(this.#scroll);
    this.#filter.addEventListener('input', changed);
    this.#filter.addEventListener('keydown', (event) => this.#filterKey(event));
    this.#list.addEventListener('click', (event) => this.#click(event));
    this.#list.addEventListener('keydown', (event) => this.#listKey(event));
    this.#list.addEventListener('focusin', (event) => {
      const oid = oidOf(event.target);
      if (oid !== undefined) this.#active = oid;
    });
    element('filter-clear').addEventListener('click', () => {
      this.clearFilter();
      this.focusFilter();
    });
  }

  focusFilter() {
    this.#filter.focus();
    this.#filter.select();
  }

  clearFilter() {
    this.#filter.value = '';
    this.#changed();
  }

  /** Moves the focus `by` rows from the active row; to that row if the list does not have the focus. */
  move(/** @type {number} */ by) {
    const focused = this.#list.contains(document.activeElement);
    const from = this.#indexOf.get(this.#active) ?? 0;
    this.#focus(focused ? from + by : from);
  }

  /** @param {Model} model @param {string} chosen @param {number|null} allTotal */
  render(model, chosen, allTotal) {
    this.#applyFilter(model);
    if (!this.#indexOf.has(this.#active)) this.#active = this.#indexOf.has(chosen) ? chosen : ALL;
    this.#measure();
    const wanted = this.#wanted();
    for (const [oid, row] of this.#rows) {
      if (wanted.has(oid)) continue;
      row.element.remove();
      this.#rows.delete(oid);
    }
    for (const oid of wanted) this.#renderRow(oid, model, chosen, allTotal);
  }

  /** Scrolls a row into view, as when the page opens with its address. @param {string} oid */
  reveal(oid) {
    const index = this.#indexOf.get(oid);
    this.#active = oid;
    if (index === undefined || this.#rowHeight === 0) return;
    const y = index * this.#rowHeight;
    const { scrollTop, clientHeight } = this.#scroll;
    if (y < scrollTop) this.#scroll.scrollTop = y;
    else if (y + this.#rowHeight > scrollTop + clientHeight) {
      this.#scroll.scrollTop = y + this.#rowHeight - clientHeight;
    }
  }

  /** @param {Model} model */
  #applyFilter(model) {
    const filter = folded(this.#filter.value.trim());
    const locations = model.locations();
    if (filter === this.#filteredBy && model.orderVersion === this.#filteredVersion) return;
    this.#filteredBy = filter;
    this.#filteredVersion = model.orderVersion;
    const matching = locations.filter(({ oid, name }) => {
      return filter === '' || oid.includes(filter) || folded(name).includes(filter);
    });
    this.#oids = [ALL, ...matching.map((location) => location.oid)];
    this.#indexOf = new Map(this.#oids.map((oid, index) => [oid, index]));
    const counted = filter === '' ? number(locations.length)
      : `${number(matching.length)} of ${number(locations.length)}`;
    setText(element('locations-count'), locations.length === 0 ? '' : counted);
    setHidden(element('locations-none'), filter === '' || matching.length > 0);
  }

  #measure() {
    const height = this.#coarse.matches ? 44 : 36;
    if (height !== this.#rowHeight) {
      this.#rowHeight = height;
      this.#list.style.setProperty('--row', `${height}px`);
    }
    const total = `${this.#oids.length * height}px`;
    if (this.#list.style.getPropertyValue('height') !== total) this.#list.style.setProperty('height', total);
  }

  /** The visible rows, some beyond them, and the one that has or would get the focus. */
  #wanted() {
    const { scrollTop, clientHeight } = this.#scroll;
    const first = Math.max(0, Math.floor(scrollTop / this.#rowHeight) - ROWS_BEYOND);
    const next = Math.ceil((scrollTop + clientHeight) / this.#rowHeight) + ROWS_BEYOND;
    const wanted = new Set(this.#oids.slice(first, next));
    if (this.#indexOf.has(this.#active)) wanted.add(this.#active);
    return wanted;
  }

  /** @param {string} oid @param {Model} model @param {string} chosen @param {number|null} allTotal */
  #renderRow(oid, model, chosen, allTotal) {
    const index = /** @type {number} */ (this.#indexOf.get(oid));
    const row = this.#rows.get(oid) ?? this.#newRow(oid);
    if (row.index !== index) this.#putAt(row, index);
    setAttribute(row.element, 'aria-setsize', String(this.#oids.length));
    setAttribute(row.link, 'tabindex', oid === this.#active ? '0' : '-1');
    setAttribute(row.link, 'href', this.#addressOf(oid));
    setAttribute(row.link, 'aria-current', String(oid === chosen));

    const location = model.location(oid);
    if (location === undefined) {
      setText(row.name, 'All locations');
      setText(row.total, allTotal === null ? '' : number(allTotal));
      return;
    }
    const name = locationName(location);
    if (row.name.textContent !== name) {
      row.name.textContent = name;
      row.name.title = location.name === '' ? `oid ${oid}: not in the location table` : `${name} (oid ${oid})`;
      row.element.classList.toggle('unnamed', location.name === '');
    }
    setText(row.item, printable(location.top ?? ''));
    setText(row.total, number(location.total));
  }

  /** @param {string} oid @returns {Row} */
  #newRow(oid) {
    const row = {
      oid,
      element: make('li', oid === ALL ? 'all' : ''),
      link: make('a', ''),
      name: make('span', 'name'),
      item: make('span', 'leading'),
      total: make('span', 'count'),
      index: -1,
    };
    row.name.dir = 'auto';
    row.item.dir = 'auto';
    row.link.dataset.oid = oid;
    row.link.append(row.name, row.item, row.total);
    row.element.append(row.link);
    this.#rows.set(oid, row);
    return row;
  }

  /** Keeps the elements in the order of the list, for Tab and screen readers. */
  #putAt(/** @type {Row} */ row, /** @type {number} */ index) {
    row.index = index;
    row.element.setAttribute('aria-posinset', String(index + 1));
    row.element.style.setProperty('transform', `translateY(${index * this.#rowHeight}px)`);
    let after = /** @type {Row|undefined} */ (undefined);
    for (const other of this.#rows.values()) {
      if (other.index > index && (after === undefined || other.index < after.index)) after = other;
    }
    const before = after !== undefined && after.element.isConnected ? after.element : null;
    // An element loses the focus when it is moved.
    if (row.element.isConnected && row.element.nextElementSibling === before) return;
    const focused = row.link === document.activeElement;
    this.#list.insertBefore(row.element, before);
    if (focused) row.link.focus({ preventScroll: true });
  }

  /** @param {number} index */
  #focus(index) {
    const oid = this.#oids[Math.max(0, Math.min(index, this.#oids.length - 1))];
    this.reveal(oid);
    this.#changed();
    // In the frame after the commit: the row's element may not exist before.
    requestAnimationFrame(() => this.#rows.get(oid)?.link.focus({ preventScroll: true }));
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const oid = oidOf(event.target);
    if (oid === undefined || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.#choose(oid);
  }

  /** @param {KeyboardEvent} event */
  #listKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.#indexOf.get(this.#active) ?? 0;
    const page = Math.max(1, Math.floor(this.#scroll.clientHeight / this.#rowHeight) - 1);
    const to = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page,
      Home: 0, End: this.#oids.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#focus(to);
  }

  /** @param {KeyboardEvent} event */
  #filterKey(event) {
    if (event.key === 'Escape') {
      if (this.#filter.value === '') this.#filter.blur();
      else this.clearFilter();
    } else if (event.key === 'ArrowDown') this.#focus(Math.min(1, this.#oids.length - 1));
    else if (event.key === 'Enter' && this.#filteredBy !== '' && this.#oids.length > 1) this.#choose(this.#oids[1]);
    else return;
    event.preventDefault();
  }
}

/** @param {EventTarget|null} target */
function oidOf(target) {
  const link = target instanceof Element ? target.closest('a') : null;
  return link?.dataset.oid;
}

/** Text for comparing with the filter, without case and accents. @param {string} text */
function folded(text) {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}
