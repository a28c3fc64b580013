// The page: takes in the stream's messages as they come and paints once per frame.
//
// Messages -> Model (at once) -> commit() (once per requestAnimationFrame) -> the views. A hidden
// page closes its connection, because browsers allow six per server, and resuming by id loses nothing.
// @ts-check

import { DEFAULT_VIEW, searchOf, viewOf } from './address.js';
import { Delay } from './delay.js';
import { element, make, setAttribute, setHidden, setText } from './dom.js';
import { Model } from './model.js';
import { Stream } from './stream.js';
import { locationName, number, printable, time, windowLabel, windowSentence } from './text.js';
import { AlertsView } from './view_alerts.js';
import { LedgerView } from './view_ledger.js';
import { LocationsView } from './view_locations.js';
import { StateView, stateOf } from './view_state.js';
import { TopView } from './view_top.js';

const ITEMS_MAX = 10;
const SKELETON_AFTER_MS = 300;
const HIDDEN_CLOSE_MS = 5_000;
const SPEAK_EVERY_MS = 10_000;
const TICK_MS = 250;
const DEFAULT_ORIGIN = 'http://127.0.0.1:8080'; // of `sightline camera`, too
const THEMES = ['auto', 'light', 'dark'];

const model = new Model();
let shown = model; // what is painted: the model or, while paused, a copy of it at that moment
const delay = new Delay();
const stream = new Stream(onEvent, schedule);
const topView = new TopView();
const locationsView = new LocationsView(choose, addressOf, schedule);
const ledgerView = new LedgerView();
const alertsView = new AlertsView(schedule);
const stateView = new StateView();

let view = viewOf(location.search);
let viewKey = ''; // of the view that the stream was opened for
let askedAt = Date.now();
let wokeAt = 0;
let paused = false;
let paintedKey = ''; // of the view whose rows are painted
let frame = 0;
let revealed = false; // the chosen location was scrolled into view once
let spokenAt = -SPEAK_EVERY_MS;
let toSpeak = '';
let leader = '';
let stateBefore = '';
/** @type {ReturnType<typeof setTimeout>|undefined} */ let hiddenTimer;

// -- the stream -----------------------------------------------------------------------------------

/** @param {string} event @param {any} data */
function onEvent(event, data) {
  const outcome = model.apply(event, data);
  if (outcome === 'applied') {
    delay.heard(data.now);
    alertsView.heard(model.boot, model.alertsVersion);
    if (event === 'change' && !paused && !document.hidden) delay.changed(data.changed_at, stream.openedAt);
  }
  return outcome;
}

function open() {
  const key = `${view.location} ${view.window}`;
  if (key === viewKey) return;
  viewKey = key;
  askedAt = Date.now();
  model.forgetView();
  const query = new URLSearchParams({ location: view.location, window: view.window, limit: String(ITEMS_MAX) });
  stream.open(`v1/stream?${query}`);
  schedule();
}

function sleep() {
  clearTimeout(hiddenTimer);
  hiddenTimer = setTimeout(() => stream.close(), HIDDEN_CLOSE_MS);
}

function wake() {
  if (document.hidden) return;
  clearTimeout(hiddenTimer);
  wokeAt = Date.now();
  stream.nudge();
  schedule();
}

// -- painting -------------------------------------------------------------------------------------

function schedule() {
  if (frame === 0) frame = requestAnimationFrame(commit);
}

function commit() {
  frame = 0;
  const now = Date.now();
  // While paused the numbers stand still. Another view that the user chooses is painted once.
  if (!paused || paintedKey !== viewKey) shown = model;
  else delay.forget();
  commitTop(now);
  if (paused && shown === model && paintedKey === viewKey) shown = model.copy();
  ledgerView.render(shown.ledger);
  alertsView.render(model.now);
  locationsView.render(shown, view.location, allTotal());
  commitState(now);
  delay.committed();
}

/** @param {number} now */
function commitTop(now) {
  const { top, ledger } = shown;
  setAttribute(element('top'), 'aria-busy', String(top === null));
  const late = top === null && now - askedAt >= SKELETON_AFTER_MS;
  setHidden(element('skeleton'), !late || stream.failures > 0);
  setHidden(element('no-answer'), !late || stream.failures === 0);
  if (top === null && !late) return; // the previous view stays on screen, complete, until then
  const firstRun = ledger?.received === 0;
  setHidden(element('first-run'), top === null || !firstRun);
  setHidden(element('nothing'), top === null || firstRun || top.total > 0);
  setHidden(element('counts'), top === null || firstRun || top.total === 0);
  nameTop();
  nameNothing();
  if (top === null) {
    paintedKey = '';
    return;
  }
  topView.render(top, viewKey);
  setText(element('total-what'), `${top.total === 1 ? 'detection' : 'detections'} since ${time(top.start, shown.now)}`);
  if (paintedKey === viewKey) speakOfLeader();
  else leader = top.rows[0]?.item ?? '';
  paintedKey = viewKey;
  if (!revealed) {
    revealed = true;
    requestAnimationFrame(() => locationsView.reveal(view.location));
  }
}

/** @param {number} now */
function commitState(now) {
  const state = stateOf({
    now, wokeAt, startedAt: askedAt, lastWordAt: stream.lastWordAt, problem: stream.problem,
  });
  stateView.render(state, shown, stream, {
    now, window: view.window, paused, allTotal: allTotal(), delayMs: delay.median(),
  });
  if (state === stateBefore) return;
  if (stateBefore !== '') speakOfConnection(state);
  stateBefore = state;
}

/** The total of all locations; the same number as beside the bars when those show all locations. */
function allTotal() {
  return view.location === 'all' && shown.top !== null ? shown.top.total : shown.totalOfLocations();
}

function viewName() {
  if (view.location === 'all') return 'All locations';
  return locationName(shown.location(view.location) ?? { oid: view.location, name: '' });
}

function nameTop() {
  const name = viewName();
  setText(element('top-name'), name);
  element('top-name').title = view.location === 'all' ? '' : `${name} (oid ${view.location})`;
  const title = `${name} · Sightline`;
  if (document.title !== title) document.title = title;
}

function nameNothing() {
  const what = element('nothing-what');
  if (element('nothing').hidden) return;
  const name = viewName();
  const sentence = `Nothing was counted at ${name} ${windowSentence(view.window)}.`;
  if (what.textContent !== sentence) {
    const bdi = make('bdi', '', name);
    what.replaceChildren('Nothing was counted at ', bdi, ` ${windowSentence(view.window)}.`);
  }
  setHidden(element('nothing-wider'), view.window === '60m' || view.window === 'today');
}

// -- announcements for screen readers: at most one per 10 s, but about the connection at once ---------

function speakOfLeader() {
  const row = shown.top?.rows[0];
  if (row === undefined || row.item === leader) return;
  leader = row.item;
  toSpeak = `${viewName()}: ${printable(row.item)} is now first with ${number(row.count)}.`;
  speak();
}

/** @param {string} state */
function speakOfConnection(state) {
  if (state === 'reconnecting') toSpeak = 'Connection lost. Reconnecting.';
  else if (state === 'stale') toSpeak = 'The numbers are stale: no connection for 10 seconds.';
  else if (state === 'unreachable') toSpeak = 'The server cannot be reached.';
  else if (state === 'live' && (stateBefore === 'reconnecting' || stateBefore === 'stale')) toSpeak = 'Live again.';
  else return;
  spokenAt = -SPEAK_EVERY_MS;
  speak();
}

function speak() {
  const now = performance.now();
  if (toSpeak === '' || now - spokenAt < SPEAK_EVERY_MS) return;
  spokenAt = now;
  setText(element('status'), toSpeak);
  toSpeak = '';
}

// -- choosing -------------------------------------------------------------------------------------

/** @param {string} oid */
function addressOf(oid) {
  return `${location.pathname}${searchOf(location.search, { ...view, location: oid })}`;
}

/** @param {string} oid */
function choose(oid) {
  go({ ...view, location: oid });
  // On a narrow screen the numbers are above the list, perhaps out of view.
  const box = element('top').getBoundingClientRect();
  if (box.bottom < 120 || box.top > innerHeight) element('top').scrollIntoView({ block: 'start' });
}

/** @param {import('./address.js').View} wanted */
function go(wanted) {
  if (wanted.location === view.location && wanted.window === view.window) return;
  view = wanted;
  history.pushState(null, '', `${location.pathname}${searchOf(location.search, view)}${location.hash}`);
  showChoice();
  open();
}

function showChoice() {
  const buttons = [...element('windows').querySelectorAll('button')];
  const known = buttons.some((button) => button.dataset.window === view.window);
  if (!known) {
    const button = make('button', '', windowLabel(view.window)); // a window from the page's address
    button.type = 'button';
    button.dataset.window = view.window;
    element('windows').append(button);
    buttons.push(button);
  }
  for (const button of buttons) {
    button.setAttribute('aria-pressed', String(button.dataset.window === view.window));
  }
}

function setPaused(/** @type {boolean} */ wanted) {
  paused = wanted;
  shown = paused ? model.copy() : model;
  element('pause').setAttribute('aria-pressed', String(paused));
  setText(element('pause'), paused ? 'Resume' : 'Pause');
  schedule();
}

// -- keys -----------------------------------------------------------------------------------------

let singleKeys = stored('keys') !== 'off';

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (!singleKeys || target.closest('input, textarea, select') !== null) return;
  if (event.key === ' ') {
    if (target.closest('button, a') !== null) return;
    setPaused(!paused);
  } else if (event.key === '/') locationsView.focusFilter();
  else if (event.key === 'j') locationsView.move(1);
  else if (event.key === 'k') locationsView.move(-1);
  else if (event.key >= '1' && event.key <= '4') {
    const button = element('windows').querySelectorAll('button')[Number(event.key) - 1];
    go({ ...view, window: button.dataset.window ?? DEFAULT_VIEW.window });
  } else return;
  event.preventDefault();
}

function showKeys() {
  element('keys').setAttribute('aria-pressed', String(singleKeys));
  setText(element('keys'), singleKeys ? 'Shortcuts on' : 'Shortcuts off');
}

// -- kept on this machine -------------------------------------------------------------------------

/** @param {string} name */
function stored(name) {
  try {
    return localStorage.getItem(`sightline.${name}`);
  } catch {
    return null; // storage is forbidden: use the default
  }
}

/** @param {string} name @param {string} value */
function store(name, value) {
  try {
    localStorage.setItem(`sightline.${name}`, value);
  } catch {
    // Storage is forbidden: the choice lasts until the page is closed.
  }
}

function showTheme(/** @type {string} */ theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(element('theme'), `Theme: ${theme}`);
}

/** @param {HTMLElement} button */
async function copy(button) {
  const source = element(button.dataset.copy ?? '');
  try {
    await navigator.clipboard.writeText(source.textContent ?? '');
    setText(button, 'Copied');
  } catch {
    getSelection()?.selectAllChildren(source); // not allowed here: select the text, to copy it by hand
    setText(button, 'Selected');
  }
  setTimeout(() => setText(button, 'Copy'), 1_500);
}

// -- start ----------------------------------------------------------------------------------------

let theme = stored('theme') ?? 'auto';
if (!THEMES.includes(theme)) theme = 'auto';
showTheme(theme);
showKeys();
showChoice();
if (location.origin !== DEFAULT_ORIGIN) {
  element('copy-simulate').textContent += ` --url ${new URL('.', location.href).href.replace(/\/$/, '')}`;
}
// On one line, because each line of a body is a detection. `date` gives a new id every second.
element('copy-curl').textContent = `curl ${new URL('v1/detections', location.href)} --data-binary `
  + `'{"geographical_location_oid": 7001, "video_camera_oid": 70011, "detection_oid": '$(date +%s)', `
  + `"item_name": "bus", "timestamp_detected": '$(date +%s000)'}'`;

element('pause').addEventListener('click', () => setPaused(!paused));
element('retry').addEventListener('click', () => stream.nudge());
element('keys').addEventListener('click', () => {
  singleKeys = !singleKeys;
  store('keys', singleKeys ? 'on' : 'off');
  showKeys();
});
element('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  store('theme', theme);
  showTheme(theme);
});
element('windows').addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('button') : null;
  if (button?.dataset.window) go({ ...view, window: button.dataset.window });
});
element('nothing-wider').addEventListener('click', () => go({ ...view, window: '60m' }));
for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', () => copy(/** @type {HTMLElement} */ (button)));
}
document.addEventListener('keydown', onKey);
addEventListener('popstate', () => {
  view = viewOf(location.search);
  showChoice();
  open();
});
addEventListener('online', wake);
addEventListener('pageshow', (event) => event.persisted && wake());
document.addEventListener('visibilitychange', () => {
  delay.forget();
  if (document.hidden) sleep();
  else wake();
});
setInterval(() => {
  if (document.hidden) return;
  stream.watch();
  speak();
  schedule();
}, TICK_MS);
open();
if (document.hidden) sleep();
