// Scenes: a mock server with some counts, and a page that looks at it.

import assert from 'node:assert/strict';
import { eventually, text, watchedPage } from './browser.mjs';
import { startMock } from './mock_server.mjs';
import { Cameras } from './server.mjs';

export const state = (page) => text(page, '#state-word');

/** `init` runs in the page before its own scripts. A mock with some counts, a page at `search`, and the promise that it did nothing wrong. */
export async function scene(browser, { search = '', options = {}, prepare = usual, wait = true, clock = Date.now, init = () => {} }, body) {
  const mock = await startMock({ clock });
  const cameras = new Cameras();
  prepare(mock, cameras);
  const page = await watchedPage(browser, mock.url, options);
  await page.addInitScript(init);
  await page.addInitScript(() => {
    new MutationObserver((records) => {
      if (records.some(({ target }) => target.id === 'skeleton' && !target.hidden)) window.skeletonAt ??= performance.now();
    }).observe(document, { subtree: true, attributeFilter: ['hidden'] });
  });
  try {
    await page.goto(mock.url + search);
    if (wait) await eventually(() => state(page), 'Live', 'state');
    await body({ mock, cameras, page });
    assert.deepEqual(page.faults(), []);
  } finally {
    await page.close();
    await mock.close();
  }
}

export function usual(mock, cameras) {
  mock.counts.names.set('7001', 'Gate 4');
  mock.counts.names.set('7002', 'Plaza');
  mock.post([...cameras.see(7001, 'bus', 12), ...cameras.see(7001, 'car', 10), ...cameras.see(7002, 'dog', 3)]);
}
export const USUAL = [['bus', '12'], ['car', '10'], ['dog', '3']];

/** Many locations with many items, over the last minute. @param {number} places */
export function busy(places) {
  return (mock, cameras) => {
    const items = ['person', 'car', 'bicycle', 'truck', 'bus', 'dog', 'bag', 'child', 'pallet', 'scooter', 'cart', 'cat'];
    for (let index = 0; index < places; index += 1) {
      const kind = ['Gate', 'Dock', 'Platform', 'Yard', 'Plaza'][index % 5];
      mock.counts.names.set(String(9000 + index), `${kind} ${1 + Math.floor(index / 5)}`);
      items.forEach((item, rank) => {
        mock.post(cameras.see(9000 + index, item, Math.floor((7 + (index % 3)) / (rank + 1)), 1_000 * (index % 60)));
      });
    }
  };
}
