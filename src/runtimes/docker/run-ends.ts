import { STABLE_RUN_MS } from '../crash-loop.mjs';
import { LastLine } from '../excerpt.mjs';
import { type Engine, EngineError, streamProblem } from './connection.ts';
import type { ContainerHistory } from './container-history.ts';
import { FrameParser } from './log-stream.ts';
import { type EndedRun, endOf, FIRST_DELAY_MS, type Inspection, lengthMs, saying } from './status.ts';
import { engineTime, NS_PER_MS } from './time.ts';

/** Of a run's error output only what it wrote so long before its end is read: its last line is asked for. */
const QUOTED_NS = 60_000_000_000n;
const FIRST_TIME = 1n;

/** What runs said at their ends, by the time of the end: the engine is asked once for each. */
const quotes = new WeakMap<ContainerHistory, Map<bigint, Promise<string>>>();

/** How the known runs of a container ended, in their order; those that begin and end the present crash loop with what they said. */
export async function endsOf(engine: Engine, inspection: Inspection, history: ContainerHistory): Promise<EndedRun[]> {
  const runs = history.runs();
  const { HostConfig: host, State: state, Config: config } = inspection;
  // A run's output begins before the engine says that it was started, and its last lines may be read after it says that it ended: what
  // comes of the next one, which is not begun so soon after the end, must not be taken for them.
  const ended = runs.flatMap(({ start, end }, index) => {
    const since = runs[index - 1]?.end?.time ?? FIRST_TIME;
    if (!end) return [];
    const next = runs[index + 1]?.start ?? null;
    const earliest = end.time + BigInt(FIRST_DELAY_MS) * NS_PER_MS;
    const isLast = next === null && !state.Running && !state.Restarting;
    const until = isLast ? null : next !== null && next < earliest ? next : earliest;
    return [{ death: end, ranMs: lengthMs({ start, end }), since, until }];
  });
  const last = ended.length - 1;
  const first = Math.max(
    0,
    ended.findLastIndex(({ ranMs }) => ranMs >= STABLE_RUN_MS),
  );
  return await Promise.all(
    ended.map(async ({ death, ranMs, since, until }, index) => {
      const outOfMemory = death.outOfMemory || (index === last && state.OOMKilled && !state.Running);
      const end = endOf(death.exitCode ?? 0, outOfMemory, host.Memory ?? 0);
      if (death.exitCode === null) return { end: { ...end, message: 'ended; nobody saw how' }, ranMs };
      if ((index !== first && index !== last) || end.exitCode === 0 || config.Tty) return { end, ranMs };
      return {
        end: saying(end, await quote(engine, inspection.Id, history, { since, until, end: death.time })),
        ranMs,
      };
    }),
  );
}

/** Its output lies between two times; `until` null: nothing ran since. */
type QuotedRun = { since: bigint; until: bigint | null; end: bigint };

function quote(engine: Engine, containerId: string, history: ContainerHistory, run: QuotedRun): Promise<string> {
  const ofContainer = quotes.get(history) ?? new Map<bigint, Promise<string>>();
  quotes.set(history, ofContainer);
  const known = ofContainer.get(run.end) ?? lastErrorLine(engine, containerId, run);
  ofContainer.set(run.end, known);
  known.catch(() => ofContainer.delete(run.end));
  return known;
}

/** '' where it said nothing, or where the engine does not keep its log. */
async function lastErrorLine(engine: Engine, containerId: string, { since, until, end }: QuotedRun): Promise<string> {
  const from = since > end - QUOTED_NS ? since : end - QUOTED_NS;
  const query = {
    stderr: true,
    timestamps: true,
    since: engineTime(from),
    until: until === null ? undefined : engineTime(until),
  };
  const line = new LastLine();
  const parser = new FrameParser();
  try {
    const stream = await engine.stream('GET', `/containers/${containerId}/logs`, { query });
    for await (const bytes of stream) for (const record of parser.push(bytes)) line.push(Buffer.from(record.bytes));
  } catch (error) {
    if (error instanceof EngineError) return '';
    throw streamProblem(error);
  }
  return line.text;
}
