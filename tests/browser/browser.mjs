// A chromium, pages that are watched for what they must never do, and places for screenshots.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bounded, waiting } from './waiting.mjs';

const CHROMIUM = process.env.SIGHTLINE_CHROMIUM ?? '/usr/bin/chromium';
const SCREENSHOTS = process.env.SIGHTLINE_SCREENSHOTS
  ?? fileURLToPath(new URL('../../build/screenshots', import.meta.url));

/**
 * playwright-core 1.65 refuses Node 18, Debian 12's, by its number alone; what is used of it here works
 * there. So it sees another number while it is loaded. Goes away with Node 18.
 */
async function playwright() {
  const { versions } = process;
  const old = Number.parseInt(versions.node, 10) < 20;
  if (old) Object.defineProperty(process, 'versions', { value: { ...versions, node: '20.0.0' }, configurable: true });
  try {
    return await import('playwright-core');
  } finally {
    if (old) Object.defineProperty(process, 'versions', { value: versions, configurable: true });
  }
}
const { chromium } = await playwright();

// Longer than anything takes, even on a machine that is busy with other things.
const WAIT_MS = 60_000;

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 320, height: 720 };

export async function launch() {
  return bounded('browser', await waiting('the start of chromium', chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-quic',
    ],
  })));
}

/**
 * A page in a context of its own (storage, cookies). `page.faults()` is what it did wrong so far:
 * console errors, uncaught errors, violations of the content security policy, requests to other
 * origins. A browser logs each failed request as an error; they are left out while
 * `page.serverIsDown` is set.
 * @param {import('playwright-core').Browser} browser @param {string} url where it will go: its origin
 */
export async function watchedPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, timezoneId: 'UTC', locale: 'en-GB', ...options });
  const page = bounded('page', await waiting('a new page', context.newPage()), ['keyboard', 'mouse']);
  page.close = () => waiting('the end of a page', context.close());
  page.setDefaultTimeout(WAIT_MS);
  page.setDefaultNavigationTimeout(WAIT_MS);
  const { origin } = new URL(url);
  const faults = [];
  page.serverIsDown = false;
  page.faults = () => faults;
  page.on('console', (message) => {
    if (message.type() !== 'error') return;
    if (page.serverIsDown && message.text().startsWith('Failed to load resource: ')) return;
    faults.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.stack ?? error}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    const target = new URL(request.url());
    if (target.protocol !== 'data:' && target.origin !== origin) faults.push(`request to ${target.origin}`);
  });
  await page.exposeFunction('reportViolation', (text) => faults.push(`csp: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
    window.loadedAt = performance.timeOrigin; // a reload would show another one
    // What is on screen only for a moment, which a slow machine's polling would miss.
    window.moments = [];
    window.told = []; // every text of the state line and the status line, with its time
    new MutationObserver((records) => {
      for (const { target } of records) {
        if (['state-word', 'state-sentence', 'status'].includes(target.id)) {
          window.told.push({ id: target.id, text: target.textContent, at: Date.now() });
        }
        if (target.id === 'delay') window.moments.push(`delay ${target.textContent}`);
        if (target.className?.startsWith?.('mark') !== true || target.textContent === '') continue;
        window.moments.push(`${target.parentElement.querySelector('.name').textContent} ${target.textContent}`);
      }
    }).observe(document, { subtree: true, childList: true });
  });
  return page;
}

export async function screenshot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

/** The rows of the page's top list, as a reader sees them. */
export function rowsOf(page) {
  return page.$$eval('#items > .item', (items) => items.map((item) => ({
    rank: item.querySelector('.rank').textContent,
    item: item.querySelector('.name').textContent,
    count: item.querySelector('.count').textContent,
    mark: item.querySelector('.mark').textContent,
  })));
}

/** Takes the marks ("person ▲2") and delays ("delay 9 ms") that were on screen since it was asked last. */
export const momentsOf = (page) => page.evaluate(() => window.moments.splice(0));

/**
 * When the page first said `wanted` in #id, at `since` or later; waits for it. Also what was there only
 * between two looks of a slow machine.
 * @param {string} id state-word, state-sentence or status @param {string|RegExp} wanted
 */
export async function told(page, id, wanted, since = 0) {
  const until = Date.now() + WAIT_MS;
  for (;;) {
    const all = (await page.evaluate(() => window.told)).filter((entry) => entry.id === id && entry.at >= since);
    const found = all.find(({ text }) => (wanted instanceof RegExp ? wanted.test(text) : wanted === text));
    if (found !== undefined) return found.at;
    if (Date.now() > until) throw new Error(`#${id} never said ${wanted}, but ${JSON.stringify(all.map(({ text }) => text))}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** The ledger's terms as numbers, by label. */
export function ledgerOf(page) {
  return page.$$eval('.term', (terms) => Object.fromEntries(terms.map((term) => [
    term.querySelector('.label').textContent,
    Number(term.querySelector('.value').textContent.replaceAll(',', '')),
  ])));
}

export const text = (page, selector) => page.textContent(selector);

/**
 * Waits until `read()` gives `wanted` (deeply, as JSON); fails with both when it does not.
 * @template T @param {() => Promise<T>} read @param {T} wanted @param {string} what
 */
export async function eventually(read, wanted, what, timeoutMs = WAIT_MS) {
  const until = Date.now() + timeoutMs;
  let seen;
  for (;;) {
    seen = JSON.stringify(await read());
    if (seen === JSON.stringify(wanted)) return;
    if (Date.now() > until) throw new Error(`${what}: wanted ${JSON.stringify(wanted)}, saw ${seen}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** How far the page can be scrolled sideways, and the element that makes it so. */
export function sideways(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const over = document.documentElement.scrollWidth - width;
    if (over <= 0) return null;
    const wide = [...document.querySelectorAll('body *')].find((node) => node.getBoundingClientRect().right > width + 1);
    return `${over} px by ${wide?.tagName}#${wide?.id}.${wide?.className}`;
  });
}
