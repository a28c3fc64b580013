// axe-core's rules (WCAG 2.2 A and AA, and best practices) on the page in all its states: no violation.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { NARROW, WIDE, eventually, launch, rowsOf, text, told } from './browser.mjs';
import { busy, scene } from './scene.mjs';

const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const PASSES_MIN = 20; // fewer: it did not look
const refuse = (mock) => { mock.refusal = { status: 503, title: 'starting', detail: 'the log is being read' }; };
const far = (mock, cameras) => mock.post(cameras.see(7001, 'cat', 2, 1_200_000));

// What each state is, and how the page says that it is there.
const STATES = {
  empty: { prepare: () => {}, there: (page) => page.waitForSelector('#first-run:not([hidden])') },
  'with data': { prepare: busy(30), there: (page) => eventually(async () => (await rowsOf(page)).length, 9, 'rows') },
  'nothing in the window': { prepare: far, there: (page) => page.waitForSelector('#nothing:not([hidden])') },
  refused: { prepare: refuse, wait: false, there: (page) => page.waitForSelector('#no-answer:not([hidden])') },
  'no location matches': {
    prepare: busy(3),
    there: async (page) => {
      await page.fill('#filter', 'nowhere');
      await page.waitForSelector('#locations-none:not([hidden])');
    },
  },
  'connection lost': {
    prepare: busy(3),
    there: async (page, mock) => {
      page.serverIsDown = true;
      refuse(mock);
      const cutAt = Date.now();
      mock.cut();
      await told(page, 'state-word', 'Reconnecting', cutAt);
    },
  },
  alerts: {
    prepare: (mock, cameras) => {
      busy(3)(mock, cameras);
      const alert = (number) => ({
        rule: 'camera_silent', subject: `camera ${number}`, location: '9000', since: Date.now(), facts: {},
        text: `nothing from camera ${number} for 300 s`,
      });
      mock.hub.alerts = { version: 1, alerts: Array.from({ length: 30 }, (_, index) => alert(index)) };
    },
    there: (page) => page.waitForSelector('#alerts:not([hidden])'),
  },
  paused: {
    prepare: busy(3),
    there: async (page) => {
      await page.click('#pause');
      await eventually(() => text(page, '#state-word'), 'Paused', 'state');
    },
  },
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** @returns {Promise<string[]>} each violated rule with the elements that break it */
async function violationsOf(page) {
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations', 'passes'] }));
  assert.ok(found.passes.length >= PASSES_MIN, `only ${found.passes.length} rules looked at anything`);
  return found.violations.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`);
}

for (const [name, { there, ...setting }] of Object.entries(STATES)) {
  test(name, { timeout: 240_000 }, async () => {
    await scene(browser, setting, async ({ mock, page }) => {
      if (name === 'refused') page.serverIsDown = true;
      await page.evaluate(AXE);
      await there(page, mock);
      for (const colorScheme of ['light', 'dark']) {
        for (const viewport of [WIDE, NARROW]) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize(viewport);
          assert.deepEqual(await violationsOf(page), [], `${colorScheme}, ${viewport.width} px`);
        }
      }
    });
  });
}

test('it would find what is wrong', { timeout: 240_000 }, async () => {
  await scene(browser, {}, async ({ page }) => {
    await page.evaluate(AXE);
    await page.evaluate(() => {
      document.getElementById('pause').textContent = '';
      document.getElementById('total-what').style.color = '#ccc';
    });
    const found = (await violationsOf(page)).map((violation) => violation.split(' ')[0]);
    assert.deepEqual(found, ['button-name', 'color-contrast']);
  });
});
