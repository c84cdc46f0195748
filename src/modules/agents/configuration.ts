import { Ajv } from 'ajv';
import { z } from 'zod';
import { retryPolicy } from '../executions/procedure.ts';

/** What agents may use. The ids in a tool's arguments are those of the API. */
export const TOOL_NAMES = [
  'http.fetch',
  'deployments.read',
  'logs.search',
  'stacks.read',
  'deployments.create',
  'deployments.rollback',
] as const;
/** Those that change something: each call waits for a person's approval, unless the agent may go without. */
export const ACTING_TOOLS = [
  'deployments.create',
  'deployments.rollback',
] as const satisfies (typeof TOOL_NAMES)[number][];

const MAX_TOKENS = 1_000_000;
const MAX_TURNS = 50;
const MAX_TIMEOUT_SECONDS = 24 * 60 * 60;

const unique = (names: readonly string[]) => new Set(names).size === names.length;
const listOf = <Names extends readonly [string, ...string[]]>(names: Names) =>
  z.array(z.enum(names)).refine(unique, 'names one twice').meta({ uniqueItems: true });

/** How an agent works. What it describes is the source of the JSON Schema that is published of it. */
export const agentConfiguration = z
  .strictObject({
    temperature: z.number().min(0).max(2).optional().describe("How freely the model answers; absent: the model's own."),
    maxTokens: z
      .int()
      .min(1)
      .max(MAX_TOKENS)
      .optional()
      .describe("Tokens that the model may answer with in one turn; absent: the model's own."),
    tools: listOf(TOOL_NAMES)
      .default([])
      .describe('What it may use, with the rights of the user who made it and no more.'),
    withoutApproval: listOf(ACTING_TOOLS)
      .default([])
      .describe('Those of its tools that may act before a person has approved.'),
    maxTurns: z.int().min(1).max(MAX_TURNS).default(10).describe('How often the model is asked in one run.'),
    timeoutSeconds: z
      .int()
      .min(1)
      .max(MAX_TIMEOUT_SECONDS)
      .default(600)
      .describe('Of a whole run, the time in which it waits for approvals aside.'),
    outputSchema: z
      .record(z.string(), z.unknown())
      .superRefine((schema, context) => {
        const problem = outputSchemaProblem(schema);
        if (problem !== null) context.addIssue({ code: 'custom', message: problem });
      })
      .optional()
      .describe('A JSON Schema (draft-07) that its answer has to match; its output is then that value.'),
    retry: retryPolicy.prefault({}).describe('How a turn goes on after a failure that may pass.'),
  })
  .superRefine(({ tools, withoutApproval }, context) => {
    for (const [index, tool] of withoutApproval.entries()) {
      if (tools.includes(tool)) continue;
      const message = `${tool} is none of its tools: add it to "tools" as well`;
      context.addIssue({ code: 'custom', path: ['withoutApproval', index], message });
    }
  });

export type AgentConfiguration = z.output<typeof agentConfiguration>;

/** The JSON Schema of what is given as a configuration. */
export function agentConfigurationSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(agentConfiguration, { io: 'input' });
  const description = 'How an agent works, and what it may use: see docs/agents.md.';
  return { $id: 'urn:windflow:agent-configuration', title: 'The configuration of an agent', description, ...schema };
}

/** Why answers cannot be checked against a schema; null: they can. A compiler of its own each time: it would keep each "$id" that it saw. */
export function outputSchemaProblem(schema: Record<string, unknown>): string | null {
  try {
    const check = new Ajv({ strict: false, logger: false }).compile(schema);
    return '$async' in check ? 'may not be asynchronous: leave "$async" out' : null;
  } catch (error) {
    return `is no JSON Schema (draft-07) that can be used: ${(error as Error).message}`;
  }
}
