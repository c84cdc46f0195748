import { openBenchDatabase } from './database.ts';
import { startPeer } from './peer.ts';
import { median, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';

/** A later start, from the command to the ready line: ours with migrations, engine and housekeeping, the peer's with a schema alone. */
const STARTS = Number(process.env.BENCH_ROUNDS ?? 7);

await using database = await openBenchDatabase();
await using ours = await createBenchServer({ DATABASE_URL: database.url });
const firstStartMs = await ours.start();
await ours.stop();
await using embedded = await createBenchServer();
await embedded.start();
await embedded.stop();

const own: number[] = [];
const withDatabase: number[] = [];
const theirs: number[] = [];
for (let round = 0; round < STARTS; round++) {
  own.push(await ours.start());
  await ours.stop();
  await using peer = await startPeer('query-apollo', database.url);
  theirs.push(peer.startMs);
  withDatabase.push(await embedded.start());
  await embedded.stop();
}
const figures: [string, number[]][] = [
  ['second `npm start` to ready, on a running PostgreSQL', own],
  ['the same, with the embedded PostgreSQL', withDatabase],
];
const rows = figures.map(([figure, times]) => ({
  figure,
  unit: 'ms, median',
  ours: rounded(median(times)),
  peer: 'Apollo Server 5 with Prisma, on a running PostgreSQL',
  theirs: rounded(median(theirs)),
  ratio: rounded(median(times.map((ms, round) => ms / theirs[round]!))),
  asked: 'at most 2000 ms',
}));
report('start', rows, { firstStartMs: Math.round(firstStartMs) });
