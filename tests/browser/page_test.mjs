// The page and the program together: detections go in by HTTP, numbers come out on the screen,
// through a kill -9 and back. SIGHTLINE_BIN is the program (or mock_server.mjs, which has its flags).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import {
  NARROW, WIDE, eventually, launch, ledgerOf, momentsOf, rowsOf, screenshot, sideways, text, told, watchedPage,
} from './browser.mjs';
import { HOSTILE } from './hostile.mjs';
import { Cameras, freePort, post, startServer, temporaryFolder, writeLocations } from './server.mjs';

const GATE = 7001;
const PLAZA = 7002;
const UNNAMED = 7999; // not in the location table
const HOSTILE_PLACE = 7003;
const names = { [GATE]: 'Gate 4', [PLAZA]: 'Plaza', [HOSTILE_PLACE]: HOSTILE[0][0] };

const folder = temporaryFolder();
const options = { data: path.join(folder.path, 'data'), locations: path.join(folder.path, 'locations.csv'), port: 0 };
const cameras = new Cameras();
let browser;
let server;

before(async () => {
  writeLocations(options.locations, names);
  options.port = await freePort();
  server = await startServer(options);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.kill();
  folder.remove();
});

/** [item, count] of each row. */
const counts = async (page) => (await rowsOf(page)).map(({ item, count }) => [item, Number(count.replaceAll(',', ''))]);
const state = (page) => text(page, '#state-word');
const marks = async (page) => (await rowsOf(page)).map(({ mark }) => mark);
const chosen = (page) => page.getAttribute('#locations-list a[aria-current="true"]', 'data-oid');

/** The ledger on screen adds up and says so. */
async function assertBalanced(page) {
  const { received, ...outcomes } = await ledgerOf(page);
  assert.equal(Object.values(outcomes).reduce((sum, count) => sum + count, 0), received);
  assert.equal(await text(page, '#balance'), '✓ balances');
}

test('the page follows the counts', { timeout: 600_000 }, async (t) => {
  const page = await watchedPage(browser, server.url);
  const response = await page.goto(server.url);
  const bus = cameras.see(GATE, 'bus', 12);

  // Each step stands on those before it: after a failed one the others would only fail more slowly.
  let failed = '';
  const step = (name, body) => t.test(name, async (context) => {
    if (failed !== '') {
      context.skip(`after "${failed}" failed`);
      return;
    }
    try {
      await body();
    } catch (error) {
      failed = name;
      await screenshot(page, 'page-failed').catch(() => {});
      throw new Error(`${error.message}\n--- the program's output:\n${server.log()}`, { cause: error });
    }
  });

  await step('comes from the program, with a strict policy', () => {
    assert.equal(response.status(), 200);
    const policy = response.headers()['content-security-policy'] ?? '';
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
  });

  await step('says what to do before the first detection', async () => {
    await page.waitForSelector('#first-run:not([hidden])');
    await eventually(() => state(page), 'Live', 'state');
    assert.match(await text(page, '#copy-curl'), new RegExp(`^curl ${server.url}v1/detections `));
    assert.equal(await text(page, '#copy-simulate'), `sightline camera --simulate --url ${server.url.slice(0, -1)}`);
    await screenshot(page, 'page-empty');
  });

  await step('turns live by itself', async () => {
    await post(server.url, [...bus, ...cameras.see(GATE, 'car', 10), ...cameras.see(GATE, 'person', 8)]);
    await post(server.url, [...cameras.see(PLAZA, 'dog', 5), ...cameras.see(UNNAMED, 'truck', 2)]);
    await eventually(() => counts(page), [['bus', 12], ['car', 10], ['person', 8], ['dog', 5], ['truck', 2]], 'rows');
    assert.equal(await page.isVisible('#first-run'), false);
    assert.equal(await text(page, '#sum'), '37');
    await assertBalanced(page);
  });

  await step('lists the locations: all first, by name, the unknown by oid', async () => {
    const listed = await page.$$eval('#locations-list li', (items) => items.map((item) => [
      item.querySelector('.name').textContent, item.querySelector('.count').textContent,
    ]));
    assert.deepEqual(listed, [['All locations', '37'], [HOSTILE[0][1], '0'], ['Gate 4', '30'], ['Plaza', '5'], ['7999', '2']]);
  });

  await step('shows the chosen location and keeps it in the address', async () => {
    await page.click('#locations-list a[data-oid="7001"]');
    await eventually(() => counts(page), [['bus', 12], ['car', 10], ['person', 8]], 'rows of Gate 4');
    assert.equal(await text(page, '#top-name'), 'Gate 4');
    assert.equal(new URL(page.url()).search, '?l=7001');
    assert.equal(await chosen(page), '7001');
    await page.goBack();
    await eventually(() => text(page, '#top-name'), 'All locations', 'heading after back');
    await page.goForward();
    await eventually(() => text(page, '#top-name'), 'Gate 4', 'heading after forward');
    await eventually(() => counts(page), [['bus', 12], ['car', 10], ['person', 8]], 'rows of Gate 4');
  });

  await step('marks who moved, for a moment', async () => {
    await momentsOf(page);
    await post(server.url, cameras.see(GATE, 'person', 5)); // 13: from third to first
    await eventually(() => counts(page), [['person', 13], ['bus', 12], ['car', 10]], 'rows');
    await screenshot(page, 'page-moved');
    await eventually(() => marks(page), ['', '', ''], 'marks gone');
    const last = Object.fromEntries((await momentsOf(page)).map((moment) => moment.split(' ')));
    assert.deepEqual({ ...last, delay: '' }, { person: '▲2', bus: '▼1', car: '▼1', delay: '' });
    await post(server.url, cameras.see(GATE, 'tram', 1));
    await eventually(() => counts(page), [['person', 13], ['bus', 12], ['car', 10], ['tram', 1]], 'rows');
    assert.ok((await momentsOf(page)).includes('tram new'));
  });

  await step('draws bars in proportion', async () => {
    const bars = await page.$$eval('#items > .item', (items) => items.map((item) => {
      const width = (selector) => item.querySelector(selector).getBoundingClientRect().width;
      return (width('.complete') + width('.open')) / width('.bar');
    }));
    [13, 12, 10, 1].forEach((count, index) => {
      assert.ok(Math.abs(bars[index] - count / 13) < 0.01, `bar ${index}: ${bars[index]}`);
    });
  });

  await step('counts no duplicate', async () => {
    const rows = await counts(page);
    const { duplicate, counted } = await ledgerOf(page);
    await post(server.url, bus);
    await eventually(async () => (await ledgerOf(page)).duplicate, duplicate + 12, 'duplicates in the ledger');
    assert.deepEqual(await counts(page), rows);
    assert.equal((await ledgerOf(page)).counted, counted);
    await assertBalanced(page);
  });

  await step('shows what was malformed', async () => {
    const { malformed } = await ledgerOf(page);
    const answer = await post(server.url, '{"item_name":"bus"}\n', 422);
    assert.equal(answer.rejected, 1);
    await eventually(async () => (await ledgerOf(page)).malformed, malformed + 1, 'malformed in the ledger');
    await assertBalanced(page);
    await page.focus('.term.malformed');
    assert.match(await text(page, '#term-what'), /^Malformed: /);
  });

  await step('measures its delay', async () => {
    const seen = [];
    await post(server.url, cameras.see(PLAZA, 'dog', 1));
    await eventually(async () => {
      seen.push(...await momentsOf(page));
      return seen.some((moment) => /^delay [\d,]+ ms$/.test(moment));
    }, true, 'delay');
  });

  await step('shows another window', async () => {
    // In the last 5 and 60 minutes, not in the last one.
    await post(server.url, cameras.see(GATE, 'ferry', 20, 150_000));
    await eventually(async () => (await counts(page))[0], ['ferry', 20], 'ferry first in 5 min');
    await page.click('#windows [data-window="1m"]');
    await eventually(async () => (await counts(page)).some(([item]) => item === 'ferry'), false, 'no ferry in 1 min');
    assert.equal(new URL(page.url()).search, '?l=7001&w=1m');
    assert.equal(await page.getAttribute('#windows [data-window="1m"]', 'aria-pressed'), 'true');
    await page.keyboard.press('4');
    await eventually(() => page.getAttribute('#windows [data-window="today"]', 'aria-pressed'), 'true', 'today');
    await eventually(async () => (await counts(page)).length > 0, true, 'rows of today');
    await page.keyboard.press('3');
    await eventually(() => counts(page), [['ferry', 20], ['person', 13], ['bus', 12], ['car', 10], ['tram', 1]], '60 min');
    assert.equal(new URL(page.url()).search, '?l=7001&w=60m');
  });

  await step('pauses without losing anything', async () => {
    await page.click('#pause');
    await post(server.url, cameras.see(GATE, 'tram', 2));
    await eventually(() => state(page), 'Paused', 'state');
    await page.waitForTimeout(500);
    assert.deepEqual((await counts(page)).at(-1), ['tram', 1]);
    await page.click('#pause');
    await eventually(async () => (await counts(page)).at(-1), ['tram', 3], 'tram after resuming');
  });

  await step('survives kill -9 of the program', async () => {
    const rows = [['ferry', 20], ['person', 13], ['bus', 12], ['car', 10], ['tram', 3]];
    const ledger = await ledgerOf(page);
    const { loadedAt } = await page.evaluate(() => ({ loadedAt: window.loadedAt }));
    page.serverIsDown = true;
    const killedAt = Date.now();
    await server.kill();
    await told(page, 'state-word', 'Reconnecting', killedAt);
    assert.deepEqual(await counts(page), rows, 'values stay');
    await screenshot(page, 'page-reconnecting');

    server = await startServer(options);
    await eventually(() => state(page), 'Live', 'state after the restart');
    page.serverIsDown = false;
    await eventually(() => counts(page), rows, 'the same counts as before');
    await eventually(() => ledgerOf(page), ledger, 'the same ledger as before');

    await post(server.url, bus); // duplicates are still known
    await post(server.url, cameras.see(GATE, 'car', 9));
    rows.splice(1, 3, ['car', 19], ['person', 13], ['bus', 12]);
    await eventually(() => counts(page), rows, 'counts after the restart');
    await eventually(() => ledgerOf(page), {
      ...ledger, received: ledger.received + 21, counted: ledger.counted + 9, duplicate: ledger.duplicate + 12,
    }, 'ledger after the restart');
    await assertBalanced(page);
    assert.equal(await page.evaluate(() => window.loadedAt), loadedAt, 'it did not reload');
    assert.equal(await text(page, '#total'), '67');
    await screenshot(page, 'page-recovered');
  });

  await step('shows hostile names as text', async () => {
    await post(server.url, HOSTILE.flatMap(([name], index) => cameras.see(HOSTILE_PLACE, name, 20 - index)));
    await page.click(`#locations-list a[data-oid="${HOSTILE_PLACE}"]`);
    await eventually(() => counts(page), HOSTILE.map(([, shown], index) => [shown, 20 - index]), 'rows');
    assert.equal(await text(page, '#top-name'), HOSTILE[0][1]);
    assert.equal(await page.$$eval('main img, main script, h1', (found) => found.length), 1);
    const clipped = await page.$$eval('#items > .item', (items) => items.every((item) => {
      const name = item.querySelector('.name');
      const room = item.querySelector('.bar').getBoundingClientRect().left - name.getBoundingClientRect().right;
      return room >= 0 && getComputedStyle(name).overflowX === 'hidden';
    }));
    assert.ok(clipped, 'no name runs into its bar');
    await screenshot(page, 'page-hostile');
    await page.setViewportSize(NARROW);
    assert.equal(await sideways(page), null);
    await screenshot(page, 'page-hostile-narrow');
    await page.setViewportSize(WIDE);
  });

  await step('needs no scrolling sideways at 320 px', async () => {
    await page.setViewportSize(NARROW);
    await page.goto(new URL('?l=7001&w=60m', server.url).href);
    await eventually(async () => (await counts(page)).length, 5, 'rows');
    assert.equal(await sideways(page), null);
    await screenshot(page, 'page-narrow');
  });

  await step('is dark where that is wanted', async () => {
    await page.setViewportSize(WIDE);
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await screenshot(page, 'page-dark');
    await page.click('#theme'); // auto -> light
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
    await page.reload();
    assert.equal(await text(page, '#theme'), 'Theme: light');
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
  });

  await step('did nothing wrong all the while', () => {
    assert.deepEqual(page.faults(), []);
  });
});

test('a page opened at an address shows that view', { timeout: 240_000 }, async () => {
  const page = await watchedPage(browser, server.url);
  await page.goto(new URL('?w=60m&l=7002&kept=1', server.url).href);
  await eventually(() => text(page, '#top-name'), 'Plaza', 'heading');
  await eventually(() => counts(page), [['dog', 6]], 'rows');
  assert.equal(await chosen(page), '7002');
  await page.click('#windows [data-window="5m"]');
  assert.equal(new URL(page.url()).search, '?l=7002&kept=1');
  assert.deepEqual(page.faults(), []);
  await page.close();
});

test('the curl line of the first-run page works as it stands', { timeout: 240_000 }, async () => {
  const page = await watchedPage(browser, server.url);
  await page.goto(new URL('?l=7001&w=60m', server.url).href);
  const buses = async () => (await counts(page)).find(([item]) => item === 'bus')?.[1];
  await eventually(buses, 12, 'buses');
  const { stdout } = await promisify(execFile)('sh', ['-c', await text(page, '#copy-curl')]);
  assert.equal(JSON.parse(stdout).accepted, 1);
  await eventually(buses, 13, 'buses');
  assert.deepEqual(page.faults(), []);
  await page.close();
});
