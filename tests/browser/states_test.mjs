// The page's states, each against a server that can be told to misbehave (mock_server.mjs).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  NARROW, eventually, launch, ledgerOf, momentsOf, rowsOf, screenshot, sideways, text, told,
} from './browser.mjs';
import { HOSTILE } from './hostile.mjs';
import { USUAL, busy, scene as sceneIn, state, usual } from './scene.mjs';

const TIMEOUT = { timeout: 240_000 }; // for a machine that is busy with other things
const LARGEST_OID = '9223372036854775807'; // not a number in JavaScript
let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const counts = async (page) => (await rowsOf(page)).map(({ item, count }) => [item, count]);
const scene = (setting, body) => sceneIn(browser, setting, body);
const focusedOid = (page) => page.evaluate(() => document.activeElement.dataset.oid);

test('a slow answer shows a skeleton, not before 300 ms', TIMEOUT, async () => {
  let start;
  const slow = (mock) => { mock.streamsMayStart = new Promise((resolve) => { start = resolve; }); };
  await scene({ prepare: slow, wait: false }, async ({ page }) => {
    await page.waitForFunction(() => window.skeletonAt !== undefined);
    const [asked, shown] = await page.evaluate(() => [
      performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/main.js')).responseEnd,
      window.skeletonAt,
    ]);
    assert.ok(shown - asked >= 300, `after ${shown - asked} ms`);
    await told(page, 'state-word', 'Connecting');
    await screenshot(page, 'state-loading');
    start();
    await page.waitForSelector('#first-run:not([hidden])');
    assert.equal(await page.isVisible('#skeleton'), false);
  });
});

test('silence: reconnecting after 3 s, stale after 10 s with its age, values stay, resumed by id', TIMEOUT, async () => {
  await scene({ search: '?l=7001' }, async ({ mock, cameras, page }) => {
    const [view] = mock.hub.views.values();
    mock.post(cameras.see(7001, 'car', 1));
    await eventually(() => counts(page), [['bus', '12'], ['car', '11']], 'rows');
    const lastId = `${mock.hub.boot}-${view.seq}`;
    const silentAt = Date.now();
    page.serverIsDown = true;
    mock.hub.silent = true;
    mock.refusal = { status: 503, title: 'starting', detail: 'the log is being read' };

    const reconnectingMs = await told(page, 'state-word', 'Reconnecting', silentAt) - silentAt;
    assert.ok(reconnectingMs > 1_900 && reconnectingMs < 9_000, `after ${reconnectingMs} ms`);
    await told(page, 'state-sentence', /^The server has been silent for \d s\. Showing \d\d:\d\d:\d\d\. /, silentAt);
    await screenshot(page, 'state-reconnecting');
    const staleMs = await told(page, 'state-word', 'Stale', silentAt) - silentAt;
    assert.ok(staleMs > 8_900 && staleMs < 20_000, `after ${staleMs} ms`);
    await told(page, 'state-sentence', /now \d\d s old/, silentAt);
    assert.deepEqual(await counts(page), [['bus', '12'], ['car', '11']]);
    assert.equal(await text(page, '#status'), 'The numbers are stale: no connection for 10 seconds.');
    await screenshot(page, 'state-stale');

    mock.post(cameras.see(7001, 'van', 1)); // missed
    await page.click('#retry', { trial: true }); // it can be
    mock.hub.silent = false;
    mock.refusal = null;
    await page.$eval('#retry', (button) => button.click()); // also where the page was faster
    await eventually(() => state(page), 'Live', 'state');
    page.serverIsDown = false;
    assert.equal(mock.streams.at(-1), lastId);
    await eventually(() => counts(page), [['bus', '12'], ['car', '11'], ['van', '1']], 'rows');
    assert.equal(await text(page, '#status'), 'Live again.');
  });
});

test('a cut connection is taken up again at once, by id', TIMEOUT, async () => {
  await scene({}, async ({ mock, cameras, page }) => {
    page.serverIsDown = true;
    for (let round = 0; round < 3; round += 1) {
      const before = mock.streams.length;
      mock.cut();
      mock.post(cameras.see(7002, 'dog', 1));
      await eventually(async () => mock.streams.length > before, true, 'reconnected');
      await eventually(() => text(page, '#sum'), String(26 + round), 'total');
      await eventually(() => state(page), 'Live', 'state');
      assert.match(mock.streams.at(-1), /^\w+-\d+$/);
    }
  });
});

test('tries again with growing pauses that differ, at most 5 s', TIMEOUT, async () => {
  // What the page means to wait is asked of the page: a busy machine makes every pause longer.
  const init = () => {
    window.waits = [];
    const { setTimeout } = window;
    window.setTimeout = (body, ms) => {
      window.waits.push(ms);
      return setTimeout(body, ms);
    };
  };
  await scene({ init }, async ({ mock, page }) => {
    page.serverIsDown = true;
    mock.refusal = { status: 503, title: 'away' };
    await page.evaluate(() => window.waits.splice(0));
    const times = [];
    const seen = mock.requests.length;
    mock.cut();
    await eventually(async () => {
      times.length = 0;
      for (const request of mock.requests.slice(seen)) if (request.url.startsWith('/v1/stream')) times.push(request.at);
      return times.length >= 5;
    }, true, 'five tries');
    const pauses = times.slice(1).map((at, index) => at - times[index]);
    const meant = (await page.evaluate(() => window.waits)).filter((ms) => ms <= 5_000).slice(1);
    pauses.forEach((pause, index) => {
      const backoff = Math.min(5_000, 500 * 2 ** index);
      assert.ok(meant[index] >= backoff / 2 && meant[index] <= backoff, `pause ${index} was to be ${meant[index]} ms of ${backoff}`);
      assert.ok(pause > meant[index] * 0.9, `pause ${index} was ${pause} ms instead of ${meant[index]}`);
    });
    assert.ok(new Set(meant).size === meant.length, `no two alike: ${meant}`);
  });
});

test('a message that went missing is noticed, and a snapshot asked for', TIMEOUT, async () => {
  await scene({}, async ({ mock, cameras, page }) => {
    const [view] = mock.hub.views.values();
    view.seq += 1; // nobody was sent this one
    mock.post(cameras.see(7002, 'dog', 4));
    await eventually(async () => mock.streams.length, 2, 'a new stream');
    assert.equal(mock.streams[1], '');
    await eventually(() => counts(page), [['bus', '12'], ['car', '10'], ['dog', '7']], 'rows');
    // A message a second time changes nothing.
    for (const viewer of view.viewers) viewer.write(view.changes.at(-1));
    mock.post(cameras.see(7002, 'dog', 1));
    await eventually(() => text(page, '#sum'), '30', 'total');
    assert.equal(mock.streams.length, 2);
  });
});

test('an unreadable message costs a snapshot, not the page', TIMEOUT, async () => {
  await scene({}, async ({ mock, cameras, page }) => {
    const [view] = mock.hub.views.values();
    for (const viewer of view.viewers) viewer.write('id: x-1\nevent: change\ndata: {"boot"\n\n');
    mock.post(cameras.see(7002, 'dog', 4));
    await eventually(() => counts(page), [['bus', '12'], ['car', '10'], ['dog', '7']], 'rows');
    assert.equal(mock.streams.at(-1), '');
    const [fault] = page.faults().splice(0);
    assert.match(fault, /a message of the stream could not be read/); // and that it says so
  });
});

test('a refusal is told in the server\'s words, and its Retry-After kept', TIMEOUT, async () => {
  const refusal = { status: 429, title: 'too many views', detail: 'close a page', retryAfter: 25 };
  await scene({ prepare: (mock) => { mock.refusal = refusal; }, wait: false }, async ({ mock, page }) => {
    page.serverIsDown = true;
    await told(page, 'state-word', 'No connection');
    await told(page, 'state-sentence', /^Too many views \(429\): close a page\. Next try in 2[45] s\.$/);
    await page.waitForSelector('#no-answer:not([hidden])');
    await screenshot(page, 'state-refused');
    await page.waitForTimeout(2_500); // beyond what it would wait by itself
    assert.equal(mock.requests.filter(({ url }) => url.startsWith('/v1/stream')).length, 1);
    mock.refusal = null;
    await page.click('#retry');
    await eventually(() => state(page), 'Live', 'state');
  });
});

test('waking up resumes at once', TIMEOUT, async () => {
  await scene({}, async ({ mock, page }) => {
    const setHidden = (hidden) => page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await setHidden(true);
    const [view] = mock.hub.views.values();
    await eventually(async () => view.viewers.size, 0, 'a hidden page lets go');
    await page.waitForTimeout(4_000);
    await setHidden(false);
    await eventually(async () => mock.streams.length, 2, 'resumed');
    assert.match(mock.streams[1], /^\w+-\d+$/);
    await eventually(() => state(page), 'Live', 'state');

    page.serverIsDown = true;
    mock.refusal = { status: 503, title: 'away', retryAfter: 25 };
    const cutAt = Date.now();
    mock.cut();
    await told(page, 'state-word', 'Reconnecting', cutAt);
    mock.refusal = null;
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await eventually(() => state(page), 'Live', 'state');
  });
});

test('another view starts afresh; going quickly through many ends at the last', TIMEOUT, async () => {
  await scene({}, async ({ mock, page }) => {
    for (const oid of ['7001', '7002', 'all', '7001', '7002']) await page.click(`#locations-list a[data-oid="${oid}"]`);
    await eventually(() => counts(page), [['dog', '3']], 'rows of Plaza');
    assert.equal(await text(page, '#top-name'), 'Plaza');
    assert.ok(mock.streams.every((id) => id === ''), 'the id of another view is no use');
    const open = async () => [...mock.hub.views.values()].filter((view) => view.viewers.size > 0).length;
    await eventually(open, 1, 'the connections of the other views are let go');
  });
});

test('an empty window says so and offers a wider one', TIMEOUT, async () => {
  const prepare = (mock, cameras) => {
    usual(mock, cameras);
    mock.counts.names.set('7003', HOSTILE[0][0]);
    mock.post(cameras.see(7003, 'cat', 2, 1_200_000));
  };
  await scene({ search: '?l=7003', prepare }, async ({ page }) => {
    await eventually(() => text(page, '#nothing-what'), `Nothing was counted at ${HOSTILE[0][1]} in the last 5 minutes.`, 'sentence');
    await screenshot(page, 'state-nothing');
    await page.click('#nothing-wider');
    await eventually(() => counts(page), [['cat', '2']], 'rows');
    await page.goto(`${page.url().split('?')[0]}?l=${LARGEST_OID}`);
    await eventually(() => text(page, '#nothing-what'), `Nothing was counted at ${LARGEST_OID} in the last 5 minutes.`, 'sentence');
  });
});

test('oids keep all their digits', TIMEOUT, async () => {
  const prepare = (mock, cameras) => {
    usual(mock, cameras);
    for (const oid of [LARGEST_OID, '9223372036854775806', '-5']) {
      mock.post(cameras.see(1, `at ${oid}`, 1).map((detection) => ({ ...detection, geographical_location_oid: oid })));
    }
  };
  await scene({ prepare }, async ({ page }) => {
    const listed = await page.$$eval('#locations-list .name', (found) => found.map((name) => name.textContent));
    assert.deepEqual(listed, ['All locations', 'Gate 4', 'Plaza', '-5', '9223372036854775806', LARGEST_OID]);
    await page.click(`#locations-list a[data-oid="${LARGEST_OID}"]`);
    await eventually(() => counts(page), [[`at ${LARGEST_OID}`, '1']], 'rows');
  });
});

test('a thousand locations: few elements, filter and keys', TIMEOUT, async () => {
  await scene({ prepare: busy(1_000) }, async ({ page }) => {
    assert.equal(await text(page, '#locations-count'), '1,000');
    const elements = () => page.evaluate(() => document.querySelectorAll('*').length);
    assert.ok(await elements() < 600, `${await elements()} elements`);
    assert.equal(await page.getAttribute('#locations-list li', 'aria-setsize'), '1001');

    await page.keyboard.press('j');
    await eventually(() => focusedOid(page), 'all', 'the focus enters the list');
    await page.keyboard.press('End');
    await eventually(() => focusedOid(page), '9998', 'the last: Yard 200');
    await page.keyboard.press('k');
    await eventually(() => focusedOid(page), '9993', 'Yard 199');
    assert.ok(await elements() < 600, `${await elements()} elements`);
    await page.evaluate(() => document.getElementById('locations-scroll').scrollTo(0, 0));
    await page.waitForTimeout(100);
    assert.equal(await focusedOid(page), '9993', 'scrolling away keeps the focus');
    await page.keyboard.press('Enter');
    await eventually(() => text(page, '#top-name'), 'Yard 199', 'heading');

    await page.keyboard.press('/');
    await page.keyboard.type('plaza 17');
    await eventually(() => text(page, '#locations-count'), '11 of 1,000', 'filtered');
    await page.keyboard.press('ArrowDown');
    await eventually(() => focusedOid(page), '9084', 'Plaza 17');
    await page.keyboard.press('/');
    await page.keyboard.type('nowhere');
    await page.waitForSelector('#locations-none:not([hidden])');
    await page.keyboard.press('Escape');
    await eventually(() => text(page, '#locations-count'), '1,000', 'cleared');
    await page.keyboard.press('2'); // still in the filter: a letter, not a key
    assert.equal(await page.inputValue('#filter'), '2');
  });
});

test('busy: two hundred locations, wide and narrow, many changes a second', TIMEOUT, async () => {
  await scene({ prepare: busy(200) }, async ({ mock, cameras, page }) => {
    const total = async () => Number((await text(page, '#sum')).replaceAll(',', ''));
    const before = await total();
    const until = Date.now() + 3_000;
    let sent = 0;
    while (Date.now() < until) {
      mock.post(cameras.see(9000 + (sent % 200), ['person', 'car', 'dog', 'bus'][sent % 4], 5));
      sent += 5;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await eventually(total, before + sent, 'nothing is lost');
    const rows = await rowsOf(page);
    const shown = rows.reduce((sum, row) => sum + Number(row.count.replaceAll(',', '')), 0);
    assert.equal(shown + Number((await text(page, '#other')).replaceAll(',', '')), before + sent, 'sums add up');
    await screenshot(page, 'state-busy');
    await page.setViewportSize(NARROW);
    assert.equal(await sideways(page), null);
    await screenshot(page, 'state-busy-narrow');
  });
});

test('moved rows slide, bars do not; neither where motion is not wanted', TIMEOUT, async () => {
  for (const [reducedMotion, slides] of [['no-preference', true], ['reduce', false]]) {
    await scene({ search: '?l=7001', options: { reducedMotion } }, async ({ mock, cameras, page }) => {
      await page.evaluate(() => {
        window.animated = [];
        const animate = Element.prototype.animate;
        Element.prototype.animate = function animateAndTell(...from) {
          window.animated.push(this.className);
          return animate.apply(this, from);
        };
      });
      mock.post(cameras.see(7001, 'car', 5));
      await eventually(() => counts(page), [['car', '15'], ['bus', '12']], 'rows');
      assert.deepEqual(await page.evaluate(() => window.animated), slides ? ['item', 'item'] : []);
      const transitions = await page.$$eval('#items *', (found) => found.map((node) => getComputedStyle(node).transitionDuration));
      assert.ok(transitions.every((duration) => duration === '0s'));
      const moments = (await momentsOf(page)).filter((moment) => !moment.startsWith('delay')).sort();
      assert.deepEqual(moments, ['bus ▼1', 'car ▲1'], 'marks need no motion');
    });
  }
});

test('the provisional part of a bar is hatched', TIMEOUT, async () => {
  const now = Date.now();
  const prepare = (mock, cameras) => {
    const old = now - 60_000;
    mock.post([...cameras.see(7001, 'bus', 7).map((seen) => ({ ...seen, timestamp_detected: old })),
      ...cameras.see(7001, 'bus', 3).map((seen) => ({ ...seen, timestamp_detected: now }))]);
  };
  await scene({ prepare, clock: () => now }, async ({ page }) => {
    await eventually(() => counts(page), [['bus', '10']], 'rows');
    const [whole, complete, open] = await page.$eval('#items > .item', (item) => ['.bar', '.complete', '.open'].map(
      (selector) => item.querySelector(selector).getBoundingClientRect().width));
    assert.ok(Math.abs(complete / whole - 0.7) < 0.01 && Math.abs(open / whole - 0.3) < 0.01, `${complete} + ${open} of ${whole}`);
    assert.match(await page.$eval('#items .open', (bar) => getComputedStyle(bar).backgroundImage), /^repeating-linear-gradient/);
  });
});

test('one sentence for screen readers, at most every 10 s', TIMEOUT, async () => {
  await scene({ search: '?l=7001' }, async ({ mock, cameras, page }) => {
    mock.post(cameras.see(7001, 'car', 5));
    const spokenAt = await told(page, 'status', 'Gate 4: car is now first with 15.');
    mock.post(cameras.see(7001, 'bus', 5));
    mock.post(cameras.see(7001, 'van', 40));
    const againMs = await told(page, 'status', 'Gate 4: van is now first with 40.') - spokenAt;
    assert.ok(againMs > 9_000, `after ${againMs} ms`);
  });
});

test('keys: pause, windows, and off', TIMEOUT, async () => {
  await scene({}, async ({ page }) => {
    await page.keyboard.press(' ');
    await eventually(() => state(page), 'Paused', 'state');
    await page.keyboard.press('1'); // paused: another view is shown once
    await eventually(async () => new URL(page.url()).search, '?w=1m', 'address');
    await eventually(() => counts(page), USUAL, 'rows');
    assert.equal(await state(page), 'Paused');
    await page.keyboard.press(' ');
    await eventually(() => state(page), 'Live', 'state');
    await page.click('#keys');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('3');
    await page.keyboard.press(' ');
    await page.waitForTimeout(200);
    assert.equal(new URL(page.url()).search, '?w=1m');
    assert.equal(await state(page), 'Live');
  });
});

test('a ledger that does not balance is shown as such', TIMEOUT, async () => {
  await scene({}, async ({ mock, page }) => {
    assert.equal(await text(page, '#balance'), '✓ balances');
    mock.counts.ledger.received += 3;
    mock.hub.changed();
    await eventually(() => text(page, '#balance'), '✗ does not balance: 3 without an outcome', 'balance');
    assert.equal((await ledgerOf(page)).received, 28);
  });
});

test('alerts: a few quiet lines, as text, until they end', TIMEOUT, async () => {
  await scene({}, async ({ mock, page }) => {
    const rows = () => page.$$eval('#alerts-list li', (found) => found.map((row) => row.textContent));
    assert.equal(await page.isVisible('#alerts'), false);
    const alert = (rule, words) => ({ rule, subject: 'all', location: null, since: Date.now() - 60_000, text: words, facts: {} });
    const hostile = HOSTILE.slice(0, 3).map(([sent]) => alert('camera_silent', sent));
    mock.hub.alerts = { version: 3, alerts: [alert('duplicate_storm', '97 % of the events are copies'), ...hostile] };
    await eventually(() => text(page, '#alerts-count'), '4 alerts', 'alerts');
    assert.match((await rows())[0], /^duplicate storm97 % of the events are copiessince \d\d:\d\d:\d\d$/);
    for (const [index, [, shown]] of HOSTILE.slice(0, 3).entries()) assert.ok((await rows())[index + 1].includes(shown));
    assert.equal(await page.$('#alerts img, #alerts script, #alerts h1'), null);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await screenshot(page, `state-alerts-${colorScheme}`);
    }
    await page.setViewportSize(NARROW);
    assert.equal(await sideways(page), null);
    // Dozens scroll in their place: the numbers stay in sight.
    mock.hub.alerts = { version: 4, alerts: Array.from({ length: 200 }, (_, n) => alert('camera_silent', `nothing from camera ${n}`)) };
    await eventually(() => text(page, '#alerts-count'), '200 alerts', 'many');
    assert.equal((await rows()).length, 50);
    assert.ok(await page.$eval('#alerts', (node) => node.getBoundingClientRect().height) < 220);
    await screenshot(page, 'state-alerts-narrow');
    mock.hub.alerts = { version: 5, alerts: [] };
    await eventually(() => page.isVisible('#alerts'), false, 'none');
  });
});

test('each term of the ledger explains itself', TIMEOUT, async () => {
  await scene({}, async ({ page }) => {
    for (const [term, start] of [['received', 'Received: '], ['too_late', 'Too late: '], ['outside', 'Outside: ']]) {
      await page.hover(`.term.${term}`);
      assert.ok((await text(page, '#term-what')).startsWith(start));
    }
    await page.mouse.move(0, 0);
    await page.focus('.term.duplicate');
    assert.ok((await text(page, '#term-what')).startsWith('Duplicate: '));
  });
});

test('a name that is found later takes the oid\'s place', TIMEOUT, async () => {
  const prepare = (mock, cameras) => mock.post(cameras.see(7005, 'bus', 1));
  await scene({ search: '?l=7005', prepare }, async ({ mock, page }) => {
    assert.equal(await text(page, '#top-name'), '7005');
    mock.counts.names.set('7005', 'Yard 7');
    mock.hub.changed();
    await eventually(() => text(page, '#top-name'), 'Yard 7', 'heading');
    await eventually(() => text(page, '#locations-list li:nth-child(2) .name'), 'Yard 7', 'list');
  });
});
