import type { Deployer } from './deployer.ts';
import { eventually } from './eventually.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const EXECUTION = `id revision status statusReason output usage { inputTokens outputTokens } createdAt startedAt finishedAt
  steps { nodes { key kind state attempt input output error startedAt finishedAt } }`;
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

/** A developer who makes agents and runs them, through the public API alone. */
export class AgentRuns {
  readonly by: Deployer;
  #agents = 0;

  constructor(by: Deployer) {
    this.by = by;
  }

  async newAgent(input: object = {}): Promise<string> {
    const values = { organizationId: this.by.organizationId, name: `agent ${++this.#agents}`, ...input };
    return (await this.by.mutate('agentCreate', 'Agent { id }', values)).id;
  }

  /** Begins a run, of a new agent where none is named. */
  async begin(input: string, { agent = {}, ...more }: { agent?: object; agentId?: string } = {}): Promise<string> {
    const agentId = more.agentId ?? (await this.newAgent(agent));
    return (await this.by.mutate('agentExecute', 'Execution { id }', { agentId, input })).id;
  }

  async read(id: string): Promise<Data> {
    return (await this.by.ask(`query ($id: ID!) { execution(id: $id) { ${EXECUTION} } }`, { id })).execution;
  }

  until(id: string, ...statuses: string[]): Promise<Data> {
    return eventually(`it is ${statuses.join(' or ')}`, async () => {
      const execution = await this.read(id);
      if (FINAL.includes(execution.status) && !statuses.includes(execution.status))
        throw new Error(`it ended: ${JSON.stringify(execution)}`);
      return statuses.includes(execution.status) ? execution : null;
    });
  }

  /** Waits for its end, whichever. */
  end(id: string): Promise<Data> {
    return this.until(id, ...FINAL);
  }
}
