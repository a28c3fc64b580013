#!/usr/bin/env node
// A server that speaks docs/PROTOCOL.md, for the page's tests: small, exact, slow, and able to fail
// on demand. Node's standard library only. It is no second engine: one partition, everything in memory.
//
// As a program it takes the flags of `sightline up` and keeps what it accepted in DIR/detections.ndjson,
// so that it can be killed and started again:
//   node mock_server.mjs up --data DIR --listen 127.0.0.1:8080 --locations FILE.csv
// As a module: startMock({...}), whose result can be silenced, made to refuse, and filled by hand.

import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const WEB = fileURLToPath(new URL('../../web', import.meta.url));
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
  + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const MIME = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };
const PANE = 10_000;
const CHANGES_KEPT = 256;
const OUT_OF_ORDERNESS = 10_000;
const IDLE = 30_000;
const HORIZON = 3_600_000;
const FUTURE = 60_000;

/** Counts exactly, by detection id; outcomes as docs/SEMANTICS.md orders them. */
class Counts {
  constructor() {
    this.names = new Map(); // oid -> name
    this.panes = new Map(); // oid -> Map(pane start -> Map(item -> count))
    this.seen = new Map(); // detection oid -> "camera location item"
    this.watermarks = new Map(); // camera -> greatest event time - OUT_OF_ORDERNESS
    this.ledger = {
      received: 0, counted: 0, duplicate: 0, too_late: 0, future: 0, malformed: 0, outside: 0, conflicts: 0, heartbeats: 0, lost: 0,
    };
    this.newest = 0;
    this.lastAppend = 0;
    this.changedAt = 0;
  }

  /** Returns null, or the reason of a malformed one. */
  add(event, now) {
    this.lastAppend = now;
    this.changedAt = Date.now();
    if (event !== null && typeof event === 'object' && event.heartbeat !== undefined) {
      this.ledger.heartbeats += 1;
      this.newest = Math.max(this.newest, event.heartbeat);
      return null;
    }
    this.ledger.received += 1;
    const broken = brokenField(event);
    if (broken !== null) {
      this.ledger.malformed += 1;
      return broken;
    }
    const { item_name: item, timestamp_detected: at } = event;
    const camera = String(event.video_camera_oid);
    const place = String(event.geographical_location_oid);
    const id = String(event.detection_oid);
    const watermark = this.watermarks.get(camera) ?? -Infinity;
    if (at > now + FUTURE) this.ledger.future += 1;
    else if (at < watermark - HORIZON) this.ledger.too_late += 1;
    else if (this.seen.has(id)) {
      this.ledger.duplicate += 1;
      if (this.seen.get(id) !== `${camera} ${place} ${item}`) this.ledger.conflicts += 1;
    } else {
      this.seen.set(id, `${camera} ${place} ${item}`);
      this.watermarks.set(camera, Math.max(watermark, at - OUT_OF_ORDERNESS));
      this.newest = Math.max(this.newest, at);
      this.ledger.counted += 1;
      const panes = this.panes.get(place) ?? this.panes.set(place, new Map()).get(place);
      const start = Math.floor(at / PANE) * PANE;
      const counts = panes.get(start) ?? panes.set(start, new Map()).get(start);
      counts.set(item, (counts.get(item) ?? 0) + 1);
    }
    return null;
  }

  completeUntil(now) {
    if (this.newest === 0) return null;
    return Math.max(this.newest - OUT_OF_ORDERNESS, this.lastAppend < now - IDLE ? now - IDLE - OUT_OF_ORDERNESS : 0);
  }

  top(place, window, limit, now) {
    const { start, end } = boundsOf(window, now);
    const completeUntil = this.completeUntil(now);
    const sums = new Map();
    for (const [oid, panes] of this.panes) {
      if (place !== 'all' && place !== oid) continue;
      for (const [pane, counts] of panes) {
        if (pane < start || pane >= end) continue;
        for (const [item, count] of counts) {
          const sum = sums.get(item) ?? sums.set(item, { item, count: 0, provisional: 0 }).get(item);
          sum.count += count;
          if (completeUntil === null || pane + PANE > completeUntil) sum.provisional += count;
        }
      }
    }
    const sorted = [...sums.values()].sort((a, b) => b.count - a.count || Buffer.compare(Buffer.from(a.item), Buffer.from(b.item)));
    let rank = 0;
    const rows = sorted.slice(0, limit).map((row, index) => {
      if (index === 0 || row.count !== sorted[index - 1].count) rank = index + 1;
      return { position: index + 1, rank, ...row };
    });
    const total = sorted.reduce((sum, row) => sum + row.count, 0);
    const other = total - rows.reduce((sum, row) => sum + row.count, 0);
    return { start, end, complete_until: completeUntil, total, other, items: sorted.length, rows };
  }

  locations(window, now) {
    const { start, end } = boundsOf(window, now);
    const oids = new Set([...this.names.keys(), ...this.panes.keys()]);
    const locations = [...oids].map((oid) => {
      const sums = new Map();
      for (const [pane, counts] of this.panes.get(oid) ?? []) {
        if (pane < start || pane >= end) continue;
        for (const [item, count] of counts) sums.set(item, (sums.get(item) ?? 0) + count);
      }
      let total = 0;
      let top = '';
      for (const [item, count] of sums) {
        total += count;
        if (top === '' || count > sums.get(top) || (count === sums.get(top) && item < top)) top = item;
      }
      return { oid, name: this.names.get(oid) ?? '', total, top };
    });
    return locations.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) || (BigInt(a.oid) < BigInt(b.oid) ? -1 : 1));
  }
}

function brokenField(event) {
  if (event === null || typeof event !== 'object' || Array.isArray(event)) return { reason: 'not_an_object' };
  for (const field of ['geographical_location_oid', 'video_camera_oid', 'detection_oid']) {
    if (event[field] === undefined) return { reason: 'missing_field', field };
    if (!/^-?\d{1,19}$/.test(String(event[field]))) return { reason: 'bad_value', field };
  }
  if (event.item_name === undefined) return { reason: 'missing_field', field: 'item_name' };
  const bytes = Buffer.byteLength(String(event.item_name));
  if (typeof event.item_name !== 'string' || bytes < 1 || bytes > 256) return { reason: 'bad_value', field: 'item_name' };
  if (!Number.isInteger(event.timestamp_detected)) return { reason: 'bad_value', field: 'timestamp_detected' };
  return null;
}

function boundsOf(window, now) {
  if (window === 'today') return { start: Math.floor(now / 86_400_000) * 86_400_000, end: Math.floor(now / PANE) * PANE + PANE };
  const length = Number.parseInt(window, 10) * { s: 1_000, m: 60_000, h: 3_600_000 }[window.slice(-1)];
  const end = Math.floor(now / PANE) * PANE + PANE;
  return { start: end - length, end };
}

/** What changed in rank between two lists of rows. */
function movesOf(before, after) {
  const moves = [];
  const from = new Map(before.map((row) => [row.item, row.position]));
  for (const { item, position } of after) {
    if (!from.has(item)) moves.push({ item, move: 'entered', to: position });
    else if (from.get(item) !== position) moves.push({ item, move: 'moved', from: from.get(item), to: position });
    from.delete(item);
  }
  for (const [item, position] of from) moves.push({ item, move: 'left', from: position });
  return moves;
}

/** One computation for all viewers of a view; keeps its last changes for those who come back. */
class Hub {
  constructor(counts, options) {
    this.counts = counts;
    this.boot = Date.now().toString(36) + Math.floor(Math.random() * 1e6).toString(36);
    this.views = new Map();
    this.silent = false;
    this.alerts = { version: 0, alerts: [] }; // set by a test, version and all
    this.clock = options.clock ?? Date.now;
    this.timer = setInterval(() => this.publish(true), 1_000);
    this.pending = null;
  }

  subscribe(location, window, limit, lastId, response) {
    const key = `${location} ${window} ${limit}`;
    let view = this.views.get(key);
    if (view === undefined) {
      // Starts beyond any number it could have given out before in this boot.
      view = { location, window, limit, seq: this.nextSeq = (this.nextSeq ?? 0) + 1_000, changes: [], viewers: new Set() };
      Object.assign(view, this.compute(view));
      this.views.set(key, view);
    }
    view.viewers.add(response);
    response.on('close', () => view.viewers.delete(response));
    this.catchUp(view, lastId, response);
  }

  catchUp(view, lastId, response) {
    const [boot, seq] = lastId.split('-');
    const missed = view.seq - Number(seq);
    if (lastId !== '' && boot === this.boot && missed >= 0 && missed <= view.changes.length) {
      for (const message of view.changes.slice(view.changes.length - missed)) response.write(message);
      response.write(this.heartbeat(view));
      return;
    }
    const data = { ...this.head(view), locations: view.locations, top: view.top, moves: [], ledger: view.ledger, changed_at: this.counts.changedAt };
    response.write(this.message(view, 'snapshot', data));
  }

  compute({ location, window, limit }) {
    const now = this.clock();
    return {
      now,
      top: this.counts.top(location, window, limit, now),
      locations: this.counts.locations(window, now),
      ledger: { ...this.counts.ledger },
    };
  }

  head(view) {
    return {
      boot: this.boot, seq: view.seq, now: this.clock(), pane: PANE,
      view: { location: view.location, window: view.window, limit: view.limit },
    };
  }

  message(view, event, data) {
    return `id: ${this.boot}-${view.seq}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  heartbeat(view) {
    const { boot, seq, now } = this.head(view);
    return this.message(view, 'heartbeat', {
      boot, seq, now, complete_until: view.top.complete_until, ledger: view.ledger, top: view.top,
      alerts_version: this.alerts.version,
    });
  }

  changed() {
    this.pending ??= setTimeout(() => this.publish(false), 16);
  }

  publish(heartbeat) {
    if (!heartbeat) this.pending = null;
    for (const view of this.views.values()) {
      const before = { locations: view.locations, rows: view.top.rows, ledger: JSON.stringify(view.ledger) };
      Object.assign(view, this.compute(view));
      const known = new Map(before.locations.map((location) => [location.oid, JSON.stringify(location)]));
      const locations = view.locations.filter((location) => known.get(location.oid) !== JSON.stringify(location));
      const moves = movesOf(before.rows, view.top.rows);
      if (locations.length > 0 || moves.length > 0 || before.ledger !== JSON.stringify(view.ledger)) {
        view.seq += 1;
        const data = { ...this.head(view), locations, top: view.top, moves, ledger: view.ledger, changed_at: this.counts.changedAt };
        view.changes.push(this.message(view, 'change', data));
        if (view.changes.length > CHANGES_KEPT) view.changes.shift();
        this.send(view, view.changes[view.changes.length - 1]);
      }
      if (heartbeat) this.send(view, this.heartbeat(view));
    }
  }

  send(view, message) {
    if (this.silent) return;
    for (const response of view.viewers) response.write(message);
  }
}

/** Long integers become strings before JSON.parse rounds them. */
function parseExact(text) {
  return JSON.parse(text.replace(/(":\s*)(-?\d{16,})(?=\s*[,}])/g, '$1"$2"'));
}

function elementsOf(body) {
  const text = body.trim();
  if (text.startsWith('[')) return parseExact(text).map((value) => ({ value }));
  return text.split('\n').filter((line) => line.trim() !== '').flatMap((line) => {
    try {
      const value = parseExact(line);
      return Array.isArray(value) ? value.map((element) => ({ value: element })) : [{ value }];
    } catch {
      return [{ value: undefined }];
    }
  });
}

function readLocations(file) {
  const rows = readFileSync(file, 'utf8').split('\n').slice(1).filter((line) => line !== '');
  return rows.map((line) => {
    const comma = line.indexOf(',');
    let name = line.slice(comma + 1);
    if (name.startsWith('"')) name = name.slice(1, name.lastIndexOf('"')).replaceAll('""', '"');
    return [line.slice(0, comma), name];
  });
}

/**
 * @param {{port?: number, host?: string, data?: string, locations?: string, clock?: () => number}} options
 */
export async function startMock(options = {}) {
  const counts = new Counts();
  const hub = new Hub(counts, options);
  const clock = options.clock ?? Date.now;
  const sockets = new Set();
  const mock = { counts, hub, refusal: null, streamsMayStart: Promise.resolve(), streams: [], requests: [] };
  const log = options.data === undefined ? null : path.join(options.data, 'detections.ndjson');

  for (const [oid, name] of options.locations === undefined ? [] : readLocations(options.locations)) counts.names.set(oid, name);
  if (log !== null) {
    mkdirSync(options.data, { recursive: true });
    for (const line of existsSync(log) ? readFileSync(log, 'utf8').split('\n') : []) {
      if (line === '') continue;
      const { at, value } = JSON.parse(line);
      counts.add(value, at);
    }
  }

  /** Adds detections as POST does. */
  mock.add = (elements) => {
    const errors = [];
    const now = clock();
    let kept = '';
    elements.forEach(({ value }, index) => {
      const error = counts.add(value, now);
      if (error !== null) errors.push({ line: index + 1, ...error });
      kept += `${JSON.stringify({ at: now, value })}\n`;
    });
    if (log !== null) appendFileSync(log, kept, { flush: true });
    hub.changed();
    return {
      accepted: elements.length - errors.length, rejected: errors.length,
      errors: errors.slice(0, 100), errors_truncated: errors.length > 100,
    };
  };
  mock.post = (detections) => mock.add(detections.map((value) => ({ value })));
  /** Cuts all connections, as a crash or a pulled cable does. */
  mock.cut = () => sockets.forEach((socket) => socket.destroy());
  mock.close = () => new Promise((resolve) => {
    clearInterval(hub.timer);
    clearTimeout(hub.pending);
    server.close(resolve);
    mock.cut();
  });

  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    const query = url.searchParams;
    const json = (status, value, headers = {}) => {
      response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', ...headers });
      response.end(JSON.stringify(value));
    };
    const problem = (status, title, detail, headers) => json(status, { type: 'about:blank', title, status, detail }, headers);
    const place = query.get('location') ?? 'all';
    const window = query.get('window') ?? '5m';
    const limit = Number(query.get('limit') ?? 10);
    mock.requests.push({ at: Date.now(), method: request.method, url: request.url, headers: request.headers });
    if (mock.requests.length > 1_000) mock.requests.shift();

    if (url.pathname.startsWith('/v1/') && mock.refusal !== null) {
      const { status, title, detail, retryAfter } = mock.refusal;
      return problem(status, title, detail, retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) });
    }
    if (url.pathname.startsWith('/v1/') && request.method === 'GET' && !/^(today|\d+[smh])$/.test(window)) {
      return problem(400, 'not a window', `"${window}" is no window: use 1m, 5m, 60m or today`);
    }
    if (request.method === 'POST' && url.pathname === '/v1/detections') {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        let elements = [];
        try {
          elements = elementsOf(Buffer.concat(chunks).toString('utf8'));
        } catch {
          elements = [];
        }
        if (elements.length === 0) problem(400, 'nothing usable', 'the body holds no detection: send NDJSON or an array');
        else {
          const added = mock.add(elements);
          if (added.accepted > 0) json(200, added);
          else json(422, { type: 'about:blank', title: 'Unprocessable Content', status: 422, detail: 'nothing was accepted', ...added });
        }
      });
      return undefined;
    }
    switch (url.pathname) {
      case '/v1/stream':
        mock.streams.push(request.headers['last-event-id'] ?? '');
        mock.streamsMayStart.then(() => {
          response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
          hub.subscribe(place, window, limit, request.headers['last-event-id'] ?? '', response);
        });
        return undefined;
      case '/v1/top': return json(200, counts.top(place, window, limit, Number(query.get('at') ?? clock())));
      case '/v1/locations': return json(200, counts.locations(window, clock()));
      case '/v1/ledger': return json(200, counts.ledger);
      case '/v1/alerts': return json(200, hub.alerts);
      case '/healthz': return json(200, { status: 'ok', reasons: [] });
      default:
    }
    const name = url.pathname === '/' ? 'index.html' : url.pathname.slice(1);
    const file = path.join(WEB, name);
    if (!/^[\w.]+$/.test(name) || !existsSync(file)) return problem(404, 'not found', `there is no "${name}"`);
    response.writeHead(200, {
      'Content-Type': MIME[path.extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': CSP,
      'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-cache',
    });
    return response.end(readFileSync(file));
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve);
  });
  mock.port = server.address().port;
  mock.url = `http://127.0.0.1:${mock.port}/`;
  return mock;
}

function flag(name) {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [host, port] = (flag('--listen') ?? '127.0.0.1:8080').split(':');
  const mock = await startMock({ host, port: Number(port), data: flag('--data'), locations: flag('--locations') });
  console.log(`mock: listening on ${mock.url}`);
}
