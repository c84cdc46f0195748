import { expect } from 'vitest';
import { type Random, seededRandom } from './seeded-random.ts';

/** How many servers on one database the API suite asks at random. */
export const SERVERS = Number(process.env.WINDFLOW_TEST_SERVERS ?? 1);
const SEED = Number(process.env.WINDFLOW_TEST_SEED ?? 1);

let random: Random | null = null;
let ownOnly = 0;

/** One of them, at random; the first one, which is of this process, while its work is measured. */
export function pickServer<T>(servers: readonly [T, ...T[]]): T {
  if (servers.length === 1 || ownOnly > 0) return servers[0];
  return ofThisFile().pick(servers);
}

/** Lets all requests go to the server of this process until the work is done. */
export async function onOwnServer<T>(work: () => Promise<T>): Promise<T> {
  ownOnly++;
  try {
    return await work();
  } finally {
    ownOnly--;
  }
}

/** The seed is the same in every run, and another in every file. */
function ofThisFile(): Random {
  if (random) return random;
  const path = expect.getState().testPath ?? '';
  const name = [...path.slice(path.lastIndexOf('/'))];
  const seed = name.reduce((sum, character) => (Math.imul(sum, 31) + character.charCodeAt(0)) | 0, SEED);
  console.log(`requests go to ${SERVERS} servers at random (WINDFLOW_TEST_SEED=${SEED})`);
  random = seededRandom(seed);
  return random;
}
