// Starts the program under test. Only flagsOf() knows its command line.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const BIN = process.env.SIGHTLINE_BIN
  ?? fileURLToPath(new URL('../../build/release/sightline', import.meta.url));
const START_MS_MAX = 30_000;
const LOG_CHARACTERS = 8_000; // of the program's last output, for a failed test's message

function flagsOf({ data, port, locations }) {
  const flags = ['up', '--data', data, '--listen', `127.0.0.1:${port}`, '--locations', locations];
  // The page as it is in this folder instead of the one built into the program.
  if (process.env.SIGHTLINE_WEB_DIR) flags.push('--web_dir', process.env.SIGHTLINE_WEB_DIR);
  return flags;
}

/** A port that is free now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

export function temporaryFolder() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-page-'));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** @param {string} file @param {Record<string, string>} names by oid */
export function writeLocations(file, names) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
  const rows = Object.entries(names).map(([oid, name]) => `${oid},${quoted(name)}\n`);
  writeFileSync(file, `geographical_location_oid,geographical_location\n${rows.join('')}`);
}

/** Resolves when /healthz answers 200; rejects with the program's own words when it does not. */
export async function startServer({ data, port, locations }) {
  const script = BIN.endsWith('.mjs');
  const flags = flagsOf({ data, port, locations });
  const child = spawn(script ? process.execPath : BIN, script ? [BIN, ...flags] : flags, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let ended = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      log = (log + chunk).slice(-LOG_CHARACTERS);
    });
  }
  const endWithUs = () => child.kill('SIGKILL'); // when the test file runs out of time, for one
  process.once('exit', endWithUs);
  const exited = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`it exited with ${signal ?? code}`));
  });
  exited.then((how) => {
    ended = how;
    process.off('exit', endWithUs);
  });
  const url = `http://127.0.0.1:${port}/`;
  const server = {
    url,
    log: () => log,
    /** As a power cut would: no chance to say goodbye. */
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
  const until = Date.now() + START_MS_MAX;
  let last = '';
  for (;;) {
    if (ended === '') {
      try {
        const response = await fetch(new URL('healthz', url));
        last = `/healthz answered ${response.status}: ${await response.text()}`;
        if (response.status === 200) return server;
      } catch (error) {
        last = `/healthz: ${error.cause?.message ?? error.message}`;
      }
    }
    if (ended !== '' || Date.now() > until) {
      await server.kill();
      throw new Error(`"${BIN} ${flags.join(' ')}" did not start: ${ended || last}\n--- its output:\n${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Posts detections as NDJSON and returns the answer, whose status must be `status`.
 * @param {string} url @param {object[]|string} body @param {number} status */
export async function post(url, body, status = 200) {
  const text = typeof body === 'string' ? body : body.map((detection) => `${JSON.stringify(detection)}\n`).join('');
  const response = await fetch(new URL('v1/detections', url), {
    method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' }, body: text,
  });
  const answer = await response.json();
  if (response.status !== status) throw new Error(`POST answered ${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}

/** Detections with ids of their own. */
export class Cameras {
  #next;

  constructor(first = 700_100_001) {
    this.#next = first;
  }

  /** `count` detections of `item` at `location`, seen `agoMs` ago. */
  see(location, item, count, agoMs = 0) {
    return Array.from({ length: count }, () => ({
      geographical_location_oid: location,
      video_camera_oid: location * 10 + 1,
      detection_oid: this.#next++,
      item_name: item,
      timestamp_detected: Date.now() - agoMs,
    }));
  }
}
