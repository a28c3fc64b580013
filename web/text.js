// Formats text and numbers for people. Strings from events are shown by textContent, never as markup.
// @ts-check

const NAME_CHARACTERS_MAX = 512; // of a name on the page, where more is never visible
// Invisible characters that can reorder or hide their neighbours. The joiners U+200C and U+200D stay,
// because scripts and emoji need them.
const FORMAT_CONTROLS =
  /[\u0080-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const numbers = new Intl.NumberFormat('en');
const times = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const datesAndTimes = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

/** A name from outside, with control characters made visible. @param {string} text */
export function printable(text) {
  let shown = text.slice(0, NAME_CHARACTERS_MAX);
  // eslint-disable-next-line no-control-regex
  shown = shown.replace(/[\u0000-\u001f\u007f]/g, (character) => {
    const code = character.charCodeAt(0);
    return String.fromCharCode(code === 0x7f ? 0x2421 : 0x2400 + code);
  });
  shown = shown.replace(FORMAT_CONTROLS, (character) => {
    return `⟨${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
  return shown.trim() === '' ? shown.replace(/\s/g, '␠') : shown;
}

/** @param {{oid: string, name: string}} location */
export function locationName(location) {
  return location.name === '' ? location.oid : printable(location.name);
}

/** @param {number} value */
export const number = (value) => numbers.format(value);

/** "hh:mm:ss" in the browser's time zone, with the date if it is not the day of `now`. */
export function time(/** @type {number} */ ms, /** @type {number} */ now = ms) {
  const sameDay = new Date(ms).toDateString() === new Date(now).toDateString();
  return (sameDay ? times : datesAndTimes).format(ms);
}

/** False for an unknown time, which may arrive as null or as the end of all time. */
export function isTime(/** @type {unknown} */ ms) {
  return typeof ms === 'number' && ms > 0 && ms < 8.64e15;
}

export function zoneName() {
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(Date.now());
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? 'local';
}

/** "4 s", "2 min", "3 h": whole and rounded down. */
export function age(/** @type {number} */ ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

/** @param {number} count @param {string} one @param {string} many */
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

const UNITS = /** @type {const} */ ({ s: 'second', m: 'minute', h: 'hour' });

/** "5m" -> "in the last 5 minutes". @param {string} window */
export function windowSentence(window) {
  if (window === 'today') return 'today';
  const length = Number.parseInt(window, 10);
  const unit = UNITS[/** @type {'s'|'m'|'h'} */ (window.slice(-1))];
  return length === 1 ? `in the last ${unit}` : `in the last ${length} ${unit}s`;
}

/** "90s" -> "90 s", for a button. @param {string} window */
export function windowLabel(window) {
  const unit = { s: 's', m: 'min', h: 'h' }[window.slice(-1)] ?? '';
  return `${Number.parseInt(window, 10)} ${unit}`;
}
