import type { Deployer } from './deployer.ts';
import { FINAL, untilStatus } from './execution-status.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

export const EXECUTION = `id revision kind status statusReason input output createdAt startedAt finishedAt agent { id } retryOf { id }
  continues { id } usage { inputTokens outputTokens } createdBy { ... on User { id } }
  steps { nodes { key kind state attempt dependsOn input output error approval { message role } startedAt finishedAt } }`;

/** Agents of an organization have names of their own, whoever makes them. */
let made = 0;

/** A developer who makes agents and runs them, through the public API alone. */
export class AgentRuns {
  readonly by: Deployer;

  constructor(by: Deployer) {
    this.by = by;
  }

  async newAgent(input: object = {}): Promise<string> {
    const values = { organizationId: this.by.organizationId, name: `agent ${++made}`, ...input };
    return (await this.by.mutate('agentCreate', 'Agent { id }', values)).id;
  }

  /** Begins a run, of a new agent where none is named. */
  async begin(input: string, { agent = {}, ...more }: { agent?: object; agentId?: string } = {}): Promise<string> {
    const agentId = more.agentId ?? (await this.newAgent(agent));
    return (await this.execute(agentId, input)).id;
  }

  execute(agentId: string, input: string, more: object = {}): Promise<Data> {
    return this.by.mutate('agentExecute', `Execution { ${EXECUTION} }`, { agentId, input, ...more });
  }

  async read(id: string): Promise<Data> {
    return (await this.by.ask(`query ($id: ID!) { execution(id: $id) { ${EXECUTION} } }`, { id })).execution;
  }

  until(id: string, ...statuses: string[]): Promise<Data> {
    return untilStatus(() => this.read(id), statuses);
  }

  /** Waits for its end, whichever. */
  end(id: string): Promise<Data> {
    return this.until(id, ...FINAL);
  }
}
