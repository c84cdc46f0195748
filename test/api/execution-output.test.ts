import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeEventCursor, encodeLogCursor, encodeOutputCursor } from '../../src/realtime/cursor.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { AgentRuns } from '../support/agent-runs.ts';
import { type Heard, listen, openEventStream, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HeldLock } from '../support/held-lock.ts';
import { ModelServer } from '../support/model-server.ts';

const OUTPUT = `subscription ($id: ID!, $after: String) { executionOutput(executionId: $id, after: $after) {
  chunks { sequence step attempt text } endCursor live } }`;
const STATUS = `subscription ($id: ID!) { executionStatus(executionId: $id) { id revision status output } }`;
const ONCE = { configuration: { retry: { attempts: 1 } } };
const ECHO = { model: 'builtin/echo' };

type Chunk = { sequence: number; step: string; attempt: number; text: string };
type Batch = { chunks: Chunk[]; endCursor: string; live: boolean };

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let runs: AgentRuns;
const clients: SocketClient[] = [];
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: null, model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new AgentRuns(acme);
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.dispose()));
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  models.requests.length = 0;
});

const connect = (token = acme.token) => {
  const client = app.connect(token);
  clients.push(client);
  return client;
};
const follow = (id: string, after?: string, by = connect()) => listen(by, OUTPUT, { id, after }).heard;
const batchesOf = ({ results }: Heard): Batch[] => results.map(({ data }) => data.executionOutput);
const chunksOf = (heard: Heard): Chunk[] => batchesOf(heard).flatMap(({ chunks }) => chunks);
const textOf = (heard: Heard) =>
  chunksOf(heard)
    .map(({ text }) => text)
    .join('');
const sequencesOf = (heard: Heard) => chunksOf(heard).map(({ sequence }) => sequence);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const words = (count: number) =>
  upTo(count)
    .map((index) => `word${index}`)
    .join(' ');
const ended = async (heard: Heard): Promise<Heard> => {
  await eventually('the end of a subscription', () => heard.end !== null);
  return heard;
};
const codeOf = ({ end }: Heard) =>
  (end as { errors?: { extensions: { code: unknown } }[] }).errors?.[0]?.extensions.code;

describe('what an execution writes', () => {
  it('should go on after any cursor with exactly the rest', async () => {
    models.answers = [{ text: words(40), pauseMs: 20 }];
    const id = await runs.begin('count');
    const all = await ended(follow(id));
    expect(all.end).toBe('complete');
    expect(textOf(all)).toBe(words(40));
    expect(sequencesOf(all)).toEqual(upTo(chunksOf(all).length));
    expect(chunksOf(all).length).toBeGreaterThan(1);
    // A replay, then live to the end.
    const lives = batchesOf(all).map(({ live }) => live);
    expect(lives).toEqual(lives.toSorted());
    const cursors = [...new Set(batchesOf(all).map(({ endCursor }) => endCursor))];
    const rests = await Promise.all(cursors.map((cursor) => ended(follow(id, cursor))));
    for (const [index, rest] of rests.entries()) {
      const position = batchesOf(all).findLastIndex(({ endCursor }) => endCursor === cursors[index]);
      expect(chunksOf(rest)).toEqual(
        batchesOf(all)
          .slice(position + 1)
          .flatMap(({ chunks }) => chunks),
      );
      expect(rest.end).toBe('complete');
    }
  });

  it('should go on while it is written, across connections', async () => {
    models.answers = [{ text: words(60), pauseMs: 10 }];
    const id = await runs.begin('count');
    const heard: Heard[] = [];
    for (let after: string | undefined; heard.at(-1)?.end !== 'complete'; ) {
      const client = connect();
      const part = follow(id, after, client);
      await eventually('two batches, or the end', () => part.results.length >= 2 || part.end !== null);
      // What still comes on the old connection is what the next one begins with.
      heard.push({ results: [...part.results], end: part.end });
      after = batchesOf(heard.at(-1)!).at(-1)?.endCursor ?? after;
      await client.dispose();
    }
    expect(heard.flatMap(sequencesOf)).toEqual(upTo(heard.flatMap(chunksOf).length));
    expect(heard.map(textOf).join('')).toBe(words(60));
  });

  it('should refuse cursors of anything else', async () => {
    const [id, other] = [await runs.begin('one', { agent: ECHO }), await runs.begin('other', { agent: ECHO })];
    const uuid = decodeIdOf('Execution', id)!;
    const wrong = {
      'of another execution': encodeOutputCursor(decodeIdOf('Execution', other)!, 1),
      'of a log': encodeLogCursor(uuid, 1),
      'of events': encodeEventCursor(uuid, 1),
      'no cursor': 'garbage',
      empty: '',
    };
    for (const [what, cursor] of Object.entries(wrong)) {
      const heard = await ended(follow(id, cursor));
      expect([codeOf(heard), heard.results], what).toEqual(['BAD_REQUEST', []]);
    }
    const beyond = await ended(follow(id, encodeOutputCursor(uuid, 1_000)));
    expect([chunksOf(beyond), beyond.end]).toEqual([[], 'complete']);
  });

  it('should reach a hundred followers whole, once and in order', async () => {
    models.answers = [{ text: words(100), pauseMs: 10 }];
    const id = await runs.begin('count');
    const all = await Promise.all(upTo(100).map(() => ended(follow(id))));
    for (const heard of all) {
      expect(heard.end).toBe('complete');
      expect(sequencesOf(heard)).toEqual(upTo(chunksOf(heard).length));
      expect(textOf(heard)).toBe(words(100));
    }
  });

  it('should come in at most thirty batches a second', async () => {
    const id = await runs.begin(words(2_000), { agent: ECHO });
    const heard = await ended(follow(id));
    expect(textOf(heard)).toBe(words(2_000));
    const { startedAt, finishedAt } = await runs.read(id);
    const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000;
    // The first one comes at once, and the times are those of the database.
    expect(chunksOf(heard).length).toBeLessThanOrEqual(2 + seconds * 30);
    expect(chunksOf(heard).length).toBeLessThan(2_000);
  });

  it('should be told at once, whatever comes after', async () => {
    models.answers = [{ hangsAfter: words(30) }];
    await using lock = new HeldLock(app.database.connection, 'lock table execution_output in share mode');
    await lock.take();
    const id = await runs.begin('count');
    const heard = follow(id);
    // The first batch is being stored while the model says the rest, and nothing more.
    await lock.isWaitedFor();
    await eventually('all is said', () => models.requests[0]?.isSaid);
    await lock[Symbol.asyncDispose]();
    await eventually('all that was said', () => textOf(heard) === words(30));
    expect((await runs.read(id)).status).toBe('RUNNING');
    await acme.mutate('executionCancel', 'Execution { id }', { executionId: id });
    await ended(heard);
    expect([heard.end, textOf(heard)]).toEqual(['complete', words(30)]);
  });

  it('should be whole where its step fails', async () => {
    models.answers = [{ breaksAfter: words(20) }];
    const heard = await ended(follow(await runs.begin('count', { agent: ONCE })));
    expect([textOf(heard), heard.end]).toEqual([words(20), 'complete']);
  });

  it('should come as server-sent events too', async () => {
    const id = await runs.begin(words(20), { agent: ECHO });
    const stream = await openEventStream(app.url, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        'content-type': 'application/json',
        authorization: `Bearer ${acme.token}`,
      },
      body: JSON.stringify({ query: OUTPUT, variables: { id } }),
    });
    await eventually('its end', () => stream.events.some(({ event }) => event === 'complete'));
    const told = stream.events
      .filter(({ event }) => event === 'next')
      .map(({ data }) => data.data.executionOutput as Batch);
    expect(told.flatMap(({ chunks }) => chunks.map(({ text }) => text)).join('')).toBe(words(20));
    stream.abort();
  });
});

describe('who follows an execution', () => {
  it('should be a viewer too, until membership ends', async () => {
    models.answers = [{ hangsAfter: 'thinking' }];
    const id = await runs.begin('hi');
    const [viewer, stranger] = [await acme.addMember('VIEWER'), await app.register()];
    const client = connect(viewer.token);
    const [output, status] = [follow(id, undefined, client), listen(client, STATUS, { id }).heard];
    await eventually('both', () => textOf(output) === 'thinking' && status.results.length > 0);
    const other = follow(id);
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', {
      ...{ organizationId: acme.organizationId, userId: viewer.userId },
    });
    expect([codeOf(await ended(output)), codeOf(await ended(status))]).toEqual(['NOT_FOUND', 'NOT_FOUND']);
    const foreign = connect(stranger.accessToken);
    for (const refused of [follow(id, undefined, foreign), listen(foreign, STATUS, { id }).heard])
      expect([codeOf(await ended(refused)), refused.results]).toEqual(['NOT_FOUND', []]);
    await acme.mutate('executionCancel', 'Execution { id }', { executionId: id });
    expect((await ended(other)).end).toBe('complete');
  });

  it('should be told its state until it is final, which comes once to those who come late', async () => {
    const id = await runs.begin('hello', { agent: ECHO });
    const client = connect();
    const early = await ended(listen(client, STATUS, { id }).heard);
    const revisions = early.results.map(({ data }) => data.executionStatus.revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((one, other) => one - other));
    const last = {
      data: { executionStatus: { id, status: 'COMPLETED', output: 'hello', revision: revisions.at(-1) } },
    };
    expect(early.results.at(-1)).toMatchObject(last);
    const late = await ended(listen(client, STATUS, { id }).heard);
    expect(late).toMatchObject({ results: [last], end: 'complete' });
    expect([early.end, late.results.length]).toEqual(['complete', 1]);
  });
});

describe('characters that are not easily stored', () => {
  const face = '\u{1f600}';

  it('should not be split between chunks', async () => {
    const text = `x${face.repeat(20_000)}`;
    const long = await ended(follow(await runs.begin(text, { agent: ECHO })));
    expect(chunksOf(long).length).toBeGreaterThan(2);
    expect(chunksOf(long).every((chunk) => chunk.text.isWellFormed() && !chunk.text.includes('\ufffd'))).toBe(true);
    expect(textOf(long)).toBe(text);
  });

  it('should be whole where a model sends their halves one after the other', async () => {
    models.answers = [{ pieces: ['a', face[0]!, face[1]!, 'b', face[0]!], pauseMs: 100 }];
    const id = await runs.begin('smile');
    expect(textOf(await ended(follow(id)))).toBe(`a${face}b\ufffd`);
    expect((await runs.read(id)).output).toBe(`a${face}b\ufffd`);
  });

  it('should be U+FFFD where they cannot be stored', async () => {
    models.answers = [{ pieces: ['a\0b', '\0', ' c'] }];
    const id = await runs.begin('say nothing');
    expect(textOf(await ended(follow(id)))).toBe('a\ufffdb\ufffd c');
    const { output, steps } = await runs.read(id);
    expect([output, steps.nodes[0].output.text]).toEqual(['a\ufffdb\ufffd c', 'a\ufffdb\ufffd c']);
  });

  it('should be told of a failure as well', async () => {
    models.answers = [{ status: 400, message: `no\0 ${face.repeat(200)}` }];
    const { statusReason, steps } = await runs.end(await runs.begin('hi', { agent: ONCE }));
    expect(statusReason).toContain(`400: no\ufffd ${face}`);
    expect(statusReason).toBe(`turn1: ${steps.nodes[0].error}`);
  });
});
