// The page's pure modules, without a browser. They have no imports, so that their text can be loaded
// as a module whatever package.json says of ".js".

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { HOSTILE } from './hostile.mjs';

function load(name) {
  const source = readFileSync(new URL(`../../web/${name}`, import.meta.url));
  return import(`data:text/javascript;base64,${source.toString('base64')}`);
}
const { SseParser } = await load('sse.js');
const { Model, sumOfOutcomes } = await load('model.js');
const { age, isTime, printable, windowLabel, windowSentence } = await load('text.js');
const { searchOf, viewOf } = await load('address.js');

/** What the parser makes of the pieces. */
function parsed(pieces) {
  const events = [];
  const parser = new SseParser((event) => events.push(event));
  for (const piece of pieces) parser.push(piece);
  return events;
}

test('sse: cut anywhere, with any line end, the same events', () => {
  const lines = [': hello', 'id: b-1', 'event: snapshot', 'data: {"a":', 'data: 1}', '', 'retry: 5', 'data', '', 'id: b-2', 'data:x', '', 'data: cut off'];
  const wanted = [
    { id: 'b-1', event: 'snapshot', data: '{"a":\n1}' },
    { id: 'b-1', event: 'message', data: '' },
    { id: 'b-2', event: 'message', data: 'x' },
  ];
  for (const end of ['\n', '\r\n', '\r']) {
    const text = `\ufeff${lines.join(end)}`;
    assert.deepEqual(parsed([text]), wanted);
    assert.deepEqual(parsed([...text]), wanted, 'one character at a time');
    for (let at = 1; at < text.length; at += 1) assert.deepEqual(parsed([text.slice(0, at), text.slice(at)]), wanted);
  }
});

const LEDGER = {
  received: 471, counted: 412, duplicate: 51, too_late: 3, future: 0, malformed: 5, outside: 0, conflicts: 0, heartbeats: 12, lost: 0,
};
const TOP = { start: 0, end: 10, complete_until: 5, total: 1, other: 0, items: 1, rows: [] };
const message = (seq, more = {}) => ({ boot: 'k3x9', seq, now: seq, locations: [], top: TOP, moves: [], ledger: LEDGER, ...more });

test('model: order, repetition, gaps and restarts', () => {
  const model = new Model();
  assert.equal(model.apply('change', message(1)), 'gap', 'nothing before the snapshot');
  assert.equal(model.apply('heartbeat', message(1)), 'gap');
  assert.equal(model.apply('snapshot', message(41)), 'applied');
  assert.equal(model.apply('heartbeat', message(41)), 'applied');
  assert.equal(model.apply('change', message(41)), 'ignored');
  assert.equal(model.apply('change', message(42)), 'applied');
  assert.equal(model.apply('change', message(44)), 'gap');
  assert.equal(model.apply('heartbeat', message(43)), 'gap', 'a heartbeat after a missed change');
  assert.equal(model.apply('change', message(43, { boot: 'new' })), 'gap', 'another start of the server');
  assert.equal(model.apply('snapshot', message(1, { boot: 'new' })), 'applied');
  assert.equal(model.seq, 1);
  assert.equal(model.apply('weather', {}), 'ignored');
  assert.equal(sumOfOutcomes(LEDGER), LEDGER.received);
});

test('model: locations by name, numbers in them as numbers, the unnamed last by oid', () => {
  const model = new Model();
  const named = [['5', 'Gate 10'], ['4', 'gate 2'], ['9', ''], ['10', ''], ['2', 'Dock'], ['-3', '']];
  model.apply('snapshot', message(1, { locations: named.map(([oid, name]) => ({ oid, name, total: 1, top: 'bus' })) }));
  assert.deepEqual(model.locations().map(({ oid }) => oid), ['2', '4', '5', '-3', '9', '10']);
  const copy = model.copy();
  model.apply('change', message(2, { locations: [{ oid: '2', name: 'Dock', total: 7, top: 'bus' }, { oid: '9', name: 'A', total: 1, top: '' }] }));
  assert.deepEqual(model.locations().map(({ oid, total }) => [oid, total]), [['9', 1], ['2', 7], ['4', 1], ['5', 1], ['-3', 1], ['10', 1]]);
  assert.equal(model.totalOfLocations(), 12);
  assert.deepEqual(copy.locations().map(({ oid, total }) => [oid, total])[0], ['2', 1], 'a copy stays as it was');
  model.apply('snapshot', message(3, { locations: [{ oid: '2', name: 'Dock', total: 8, top: 'bus' }] }));
  assert.deepEqual(model.locations(), [{ oid: '2', name: 'Dock', total: 8, top: 'bus' }]);
  model.apply('snapshot', message(4, { locations: [{ oid: '2', name: 'Dock', total: 9, top: 'bus' }] }));
  assert.equal(model.locations()[0].total, 9, 'the same names, new totals');
});

test('text: names are made visible', () => {
  for (const [name, shown] of HOSTILE) assert.equal(printable(name), shown);
  assert.equal(printable('  '), '␠␠');
  assert.equal(printable('x'.repeat(10_000)).length, 512);
  assert.equal(age(4_900), '4 s');
  assert.equal(age(125_000), '2 min');
  assert.equal(windowSentence('1m'), 'in the last minute');
  assert.equal(windowSentence('90s'), 'in the last 90 seconds');
  assert.equal(windowLabel('2h'), '2 h');
  assert.deepEqual([null, undefined, -9.2e18, 9.2e18, 0].map(isTime), [false, false, false, false, false]);
});

test('address: there and back, nonsense left out, others kept', () => {
  assert.deepEqual(viewOf(''), { location: 'all', window: '5m' });
  assert.deepEqual(viewOf('?l=7001&w=60m'), { location: '7001', window: '60m' });
  assert.deepEqual(viewOf('?l=%3Cimg%3E&w=forever'), { location: 'all', window: '5m' });
  assert.equal(searchOf('?a=1', { location: '7001', window: 'today' }), '?a=1&l=7001&w=today');
  assert.equal(searchOf('?l=1&w=1m', { location: 'all', window: '5m' }), '');
});
