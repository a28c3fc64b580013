// The current state of the view on screen, made from the messages of docs/PROTOCOL.md.
// Pure: no DOM, no network, no clock.
// @ts-check

/** @typedef {{oid: string, name: string, total: number, top: string}} Location */
/** @typedef {{position: number, rank: number, item: string, count: number, provisional: number}} TopRow */
/**
 * @typedef {{start: number, end: number, complete_until: number|null, total: number, other: number,
 *            items: number, rows: TopRow[]}} Top
 */
/**
 * @typedef {{received: number, counted: number, duplicate: number, too_late: number, future: number,
 *            malformed: number, outside: number, conflicts: number, heartbeats: number, lost: number}} Ledger
 */
/**
 * applied: the state includes the message. ignored: it did already. gap: a message was missed, and
 * only a snapshot helps.
 * @typedef {'applied'|'ignored'|'gap'} Outcome
 */

// "Gate 2" before "Gate 10", whatever the case.
const names = new Intl.Collator('en', { numeric: true });

/** Compares oids as numbers: BigInt, because 64 bits do not fit a JavaScript number. */
function compareOids(/** @type {string} */ a, /** @type {string} */ b) {
  const first = BigInt(a);
  const second = BigInt(b);
  return first < second ? -1 : first > second ? 1 : 0;
}

/** Orders by name, then oid; locations without a name come last. @param {Location} a @param {Location} b */
function compareLocations(a, b) {
  if ((a.name === '') !== (b.name === '')) return a.name === '' ? 1 : -1;
  return names.compare(a.name, b.name) || compareOids(a.oid, b.oid);
}

export class Model {
  boot = '';
  seq = -1;
  now = 0; // the server's clock in its last message
  changedAt = 0;
  /** @type {number|null} */ completeUntil = null;
  /** @type {number|null} */ alertsVersion = null; // null: the server has not sent one
  /** @type {Top|null} */ top = null; // null: no snapshot of this view yet
  /** @type {Ledger|null} */ ledger = null;
  // Grows when a location appears, disappears or is renamed: when the list's order may change.
  orderVersion = 0;
  /** @type {Map<string, Location>} */ #locations = new Map();
  /** @type {Location[]} */ #sorted = [];
  #sortedVersion = 0;

  /** A copy of the present state, which later messages do not change. */
  copy() {
    const copy = new Model();
    Object.assign(copy, this); // messages replace `top` and `ledger`, they never change them
    for (const [oid, location] of this.#locations) copy.#locations.set(oid, { ...location });
    copy.#sortedVersion = -1;
    return copy;
  }

  /** For another view: forgets the numbers, but keeps the names of the locations. */
  forgetView() {
    this.boot = '';
    this.seq = -1;
    this.top = null;
  }

  /** @param {string} event @param {any} data @returns {Outcome} */
  apply(event, data) {
    if (event === 'snapshot') return this.#snapshot(data);
    if (event === 'change') return this.#change(data);
    if (event === 'heartbeat') return this.#heartbeat(data);
    return 'ignored'; // an event of a newer server, which this page does not need
  }

  /** @returns {readonly Location[]} by name, then oid */
  locations() {
    if (this.#sortedVersion !== this.orderVersion) {
      this.#sorted = [...this.#locations.values()].sort(compareLocations);
      this.#sortedVersion = this.orderVersion;
    }
    return this.#sorted;
  }

  /** @param {string} oid */
  location(oid) {
    return this.#locations.get(oid);
  }

  /** The sum over all locations; null before the first message. */
  totalOfLocations() {
    if (this.ledger === null) return null;
    let total = 0;
    for (const location of this.#locations.values()) total += location.total;
    return total;
  }

  /** @param {any} data @returns {Outcome} */
  #snapshot(data) {
    const before = this.#locations;
    this.#locations = new Map();
    for (const location of data.locations) this.#locations.set(location.oid, location);
    if (before.size !== this.#locations.size) this.orderVersion += 1;
    else {
      for (const [oid, location] of this.#locations) {
        if (before.get(oid)?.name === location.name) continue;
        this.orderVersion += 1;
        break;
      }
    }
    // The order is the same, but the objects are new: the sorted array must have the new ones.
    if (this.#sortedVersion === this.orderVersion) {
      this.#sorted = this.#sorted.map((old) => /** @type {Location} */ (this.#locations.get(old.oid)));
    }
    this.boot = data.boot;
    this.seq = data.seq;
    this.#take(data);
    return 'applied';
  }

  /** @param {any} data @returns {Outcome} */
  #change(data) {
    if (this.top === null || data.boot !== this.boot) return 'gap';
    if (data.seq <= this.seq) return 'ignored';
    if (data.seq !== this.seq + 1) return 'gap';
    this.seq = data.seq;
    for (const location of data.locations) {
      const known = this.#locations.get(location.oid);
      if (known !== undefined && known.name === location.name) {
        Object.assign(known, location);
      } else {
        this.#locations.set(location.oid, location);
        this.orderVersion += 1;
      }
    }
    this.#take(data);
    return 'applied';
  }

  /** @param {any} data @returns {Outcome} */
  #heartbeat(data) {
    // A heartbeat has the id of the message before it. If the id differs, that message was missed.
    if (this.top === null || data.boot !== this.boot || data.seq !== this.seq) return 'gap';
    this.#take(data);
    return 'applied';
  }

  /** @param {any} data */
  #take(data) {
    this.now = data.now;
    if (data.top) this.top = data.top;
    if (data.ledger) this.ledger = data.ledger;
    this.completeUntil = data.complete_until ?? this.top?.complete_until ?? null;
    if (typeof data.alerts_version === 'number') this.alertsVersion = data.alerts_version;
    if (data.changed_at > this.changedAt) this.changedAt = data.changed_at;
  }
}

/** The sum of the outcomes; it equals `received` when the ledger balances. @param {Ledger} ledger */
export function sumOfOutcomes(ledger) {
  return (
    ledger.counted + ledger.duplicate + ledger.too_late + ledger.future + ledger.malformed + ledger.outside
  );
}
