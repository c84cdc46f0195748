// Adds up vitest's reports: `count.mjs FOLDER` with <suite>.json and <suite>.exit for each suite. Prints "N passed, N failed".
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of what a failed test said: what it expected, and where. */
const SHOWN_LINES = 12;

const folder = process.argv[2] ?? '.';
let passed = 0;
let failed = 0;

for (const file of readdirSync(folder).filter((name) => name.endsWith('.exit'))) {
  const report = join(folder, file.replace(/\.exit$/, '.json'));
  const code = Number(readFileSync(join(folder, file), 'utf8'));
  const counted = existsSync(report) ? count(JSON.parse(readFileSync(report, 'utf8'))) : { passed: 0, failed: 0 };
  passed += counted.passed;
  failed += counted.failed;
  // What ended badly without a failed test (a type error, no time left, a crash) is a failure too.
  if (code !== 0 && counted.failed === 0) failed += 1;
  if (code !== 0) console.log(`${file.replace(/\.exit$/, '')}: ended with code ${code}`);
}

if (passed === 0) failed = Math.max(failed, 1);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** @param {{ testResults: { name: string, status: string, message: string, assertionResults: { status: string, fullName: string, failureMessages: string[] }[] }[] }} report */
function count({ testResults }) {
  let passed = 0;
  let failed = 0;
  for (const { name, status, message, assertionResults } of testResults) {
    const bad = assertionResults.filter((test) => test.status === 'failed');
    passed += assertionResults.filter((test) => test.status === 'passed').length;
    failed += bad.length;
    for (const test of bad) tell(`${name}: ${test.fullName}`, test.failureMessages.join('\n'));
    if (status === 'failed' && bad.length === 0) {
      failed += 1;
      tell(name, message);
    }
  }
  return { passed, failed };
}

/** @param {string} what @param {string} why */
function tell(what, why) {
  console.log(`failed: ${what}`);
  for (const line of why.split('\n').slice(0, SHOWN_LINES)) console.log(`    ${line}`);
}
