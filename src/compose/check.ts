import { checkConsistency } from './consistency.ts';
import { checkDependencies } from './dependencies.ts';
import { checkDocker } from './docker-rules.ts';
import { readDocument } from './document.ts';
import { type Finding, Report } from './finding.ts';
import { interpolateTree, type Variables } from './interpolation.ts';
import type { StackModel, StackServiceSummary } from './model.ts';
import type { Privilege } from './privileges.ts';
import { checkProcess } from './process-rules.ts';
import { checkPublishedPorts } from './published-ports.ts';
import { checkReferences } from './references.ts';
import { checkSchema } from './schema.ts';
import { checkSizes, readStack, type StackReading } from './stack.ts';
import { type RuntimeName, SUPPORTED_RUNTIMES } from './support.ts';
import { checkSupport } from './support-check.ts';
import { checkTotals } from './totals.ts';
import { checkTypedValues } from './typed-values.ts';

export type CheckOptions = {
  /** Absent: only what holds for every runtime is checked. */
  runtime?: 'PROCESS' | 'DOCKER' | 'SWARM' | 'KUBERNETES' | null;
  /** The environment's variables. Absent: not known; what needs one is an INFO, not an ERROR. */
  variables?: Variables | null;
  /** Active profiles, beside those that the variable COMPOSE_PROFILES names. "*" is all of them. */
  profiles?: readonly string[];
  /** What an owner allows in the environment. Absent: not checked. */
  privileges?: readonly Privilege[];
};

export type StackCheck = {
  /** Null exactly when there is an ERROR. */
  model: StackModel | null;
  findings: Finding[];
  /** As far as they could be read, by name; also when there are errors. */
  services: StackServiceSummary[];
};

/** The whole way of a compose file: YAML, variables, schema, short forms, references, the runtime's support. Never throws. */
export function checkStack(text: string, options: CheckOptions = {}): StackCheck {
  const report = new Report();
  const stack = readCheckedStack(text, options, report);
  const findings = report.findings();
  const valid = findings.every(({ severity }) => severity !== 'ERROR');
  return { model: valid && stack ? stack.model : null, findings, services: stack ? summarize(stack) : [] };
}

function readCheckedStack(text: string, options: CheckOptions, report: Report): StackReading | null {
  const runtime = supportedRuntime(options.runtime ?? null, report);
  const document = readDocument(text, report);
  if (!document) return null;
  if (!checkSizes(document.root, report)) return null;
  const variables = options.variables ?? null;
  const root = interpolateTree(document.root, variables, report);
  const shapely = checkSchema(root, report);
  const named = variables?.COMPOSE_PROFILES?.split(',').map((profile) => profile.trim()) ?? [];
  const profiles = [...(options.profiles ?? []), ...named].filter(Boolean);
  // What is wrong with a container matters where there are containers.
  const containers = runtime === 'DOCKER' ? report : new Report();
  const stack = readStack(root, { variables, profiles, report, containers });
  if (!stack) return null;
  checkTypedValues(stack);
  checkReferences(stack);
  checkConsistency(stack);
  checkTotals(stack, runtime === 'DOCKER');
  checkDependencies(stack, runtime !== 'PROCESS');
  checkPublishedPorts(stack, runtime === null ? 'WARNING' : 'ERROR', runtime === 'DOCKER' && stack.model.ingress);
  checkSupport(stack, runtime, shapely);
  if (runtime === 'PROCESS') checkProcess(stack);
  if (runtime === 'DOCKER') checkDocker(stack, options.privileges ?? null);
  return stack;
}

function supportedRuntime(runtime: string | null, report: Report): RuntimeName | null {
  const supported = SUPPORTED_RUNTIMES.find((name) => name === runtime) ?? null;
  if (runtime !== null && !supported) {
    const message = `The runtime ${runtime} is not available yet; supported: ${SUPPORTED_RUNTIMES.join(', ')}.`;
    report.add('ERROR', 'runtime-unsupported', message);
  }
  return supported;
}

function summarize({ services }: StackReading): StackServiceSummary[] {
  const summaries = [...services.values()].map(({ model, shownPorts }) => ({
    name: model.name,
    image: model.image,
    command: model.command ?? model.entrypoint,
    ports: shownPorts,
    dependsOn: model.dependsOn.map(({ service }) => service),
    replicas: model.replicas,
  }));
  return summaries.sort((a, b) => (a.name < b.name ? -1 : 1));
}
