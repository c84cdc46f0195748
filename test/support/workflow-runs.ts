import type { Deployer } from './deployer.ts';
import { FINAL, untilStatus } from './execution-status.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

export const EXECUTION = `id kind status statusReason output workflowVersion trigger workflow { id } retryOf { id }
  steps(first: 100) { nodes { key kind state attempt dependsOn input output error } }`;
export const WORKFLOW = 'id name version definition schedule';

/** A developer who makes workflows and runs them, through the public API alone. */
export class WorkflowRuns {
  readonly by: Deployer;
  #made = 0;

  constructor(by: Deployer) {
    this.by = by;
  }

  create(definition: unknown, more: object = {}): Promise<Data> {
    return this.by.mutate('workflowCreate', `Workflow { ${WORKFLOW} }`, {
      ...{ organizationId: this.by.organizationId, name: `workflow ${++this.#made}`, definition, ...more },
    });
  }

  run(workflowId: string, input: object = {}): Promise<Data> {
    return this.by.mutate('workflowRun', `Execution { ${EXECUTION} }`, { workflowId, input });
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

  /** Runs a new workflow to its end, whichever. */
  async runToEnd(definition: unknown, input: object = {}): Promise<Data> {
    return this.end((await this.run((await this.create(definition)).id, input)).id);
  }

  approve(executionId: string, step: string, approved = true): Promise<Data> {
    return this.by.mutate('executionApprove', 'Execution { id }', { executionId, step, approved });
  }
}

export const wait = (more: object = {}) => ({ kind: 'delay', seconds: 0, ...more });
export const ask = (message = 'Go on?', more: object = {}) => ({ kind: 'approval', message, ...more });
