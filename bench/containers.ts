import { eventually } from '../test/support/eventually.ts';
import { removeProject, startByHand } from './containers-by-hand.ts';
import { composeFile, PROJECT, SERVICES } from './containers-stack.ts';
import { onEngine, openBenchEngine } from './engine.ts';
import { median, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { createStack, deleteStack, deploy, prepareTenant, stop } from './stack.ts';

/** From the command to a healthy stack of five services, beside the engine's bare calls for the same containers in the same order. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 9);

const engine = await openBenchEngine();
const { docker } = engine;
await using server = await createBenchServer();
await server.start();
const { organizationId, environmentId } = await prepareTenant(server, onEngine(engine));

// Whatever is loaded and compiled once is so by now, on both sides.
await measureByHand(0);
await measureOurs(0);
const ours: number[] = [];
const theirs: number[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  // What one leaves behind in the engine, the other meets as often.
  const [first, second] = round % 2 === 0 ? [measureOurs, measureByHand] : [measureByHand, measureOurs];
  const [one, other] = [await first(round), await second(round)];
  const [mine, bare] = first === measureOurs ? [one, other] : [other, one];
  ours.push(mine);
  theirs.push(bare);
  console.log(`round ${round}: ${rounded(mine)} ms, by hand ${rounded(bare)} ms`);
}
const row = {
  figure: `deploymentCreate to RUNNING, ${SERVICES.length} services`,
  unit: 'ms, median',
  ours: rounded(median(ours)),
  peer: 'the engine’s bare calls for the same containers',
  theirs: rounded(median(theirs)),
  ratio: rounded(median(ours.map((ms, round) => ms / theirs[round]!))),
  asked: 'at most 1.15',
};
report('containers', [row], { ours, theirs });

async function measureByHand(round: number): Promise<number> {
  const project = `by-hand-${round}`;
  try {
    return await startByHand(docker, project);
  } finally {
    await removeProject(docker, project);
  }
}

/** A stack of its own each time: its network and its volume are made, too. */
async function measureOurs(round: number): Promise<number> {
  const stackId = await createStack(server, organizationId, `five-${round}`, composeFile());
  const { id, ms } = await deploy(server, stackId, environmentId);
  await stop(server, id);
  await deleteStack(server, stackId);
  await eventually('the end of all containers', async () => {
    const filters = { label: [PROJECT] };
    const containers = await docker.listContainers({ all: true, filters });
    const { Volumes: volumes } = await docker.listVolumes({ filters });
    return containers.length + (await docker.listNetworks({ filters })).length + volumes.length === 0;
  });
  return ms;
}
