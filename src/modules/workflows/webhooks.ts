import type { Workflow } from '../../db/generated/prisma/client.ts';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import { ConflictError, NotFoundError } from '../../shared/errors.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { isSigned, newSecret } from '../../shared/standard-webhooks.ts';
import { changeBySystem } from '../change.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import type { WorkflowDefinition } from './definition.ts';
import { beginTriggered } from './triggers.ts';

/** How far a request's time may be from ours. */
export const WEBHOOK_TOLERANCE_MS = 5 * MINUTE_MS;
/** A request that comes again within this time begins no other run. */
export const WEBHOOK_MEMORY_MS = DAY_MS;
const MAX_ID_LENGTH = 200;

/** A request as it came, unchecked; see https://www.standardwebhooks.com. */
export type WebhookRequest = {
  /** Behind `WEBHOOK_PATH` of shared/webhook-path.ts. */
  workflowId: string;
  id: string | undefined;
  timestamp: string | undefined;
  signature: string | undefined;
  body: string;
};
export type WebhookAnswer = { status: number; body: { message?: string; executionId?: string | null } };

export type WebhookSecret = { workflow: Workflow; secret: string };

export type Webhooks = {
  /** A new secret, shown this once; the former one is not taken any more. */
  rotateSecret(caller: Caller | null, workflowId: string | null): Promise<WebhookSecret>;
  receive(request: WebhookRequest): Promise<WebhookAnswer>;
  /** Forgets requests that may come again no more. */
  pruneRequests(now: Date): Promise<void>;
};

export type WebhookDependencies = Pick<ServiceDependencies, 'prisma' | 'keyring' | 'clock'> & { access: Access };

const contextOf = (workflowId: string): string => `workflow-webhooks:${workflowId}`;

export function createWebhooks({ prisma, keyring, clock, access }: WebhookDependencies): Webhooks {
  return {
    async rotateSecret(caller, workflowId) {
      const { workflowId: id } = await access.requireWorkflow(caller, workflowId, 'workflow:edit');
      const secret = newSecret();
      const data = { webhookSecret: keyring.encrypt(secret, contextOf(id)) };
      const found = await prisma.workflow.findUnique({ where: { id }, include: { triggers: true } });
      if (!found) throw new NotFoundError('workflow');
      if (!found.triggers.some(({ kind }) => kind === 'webhook'))
        throw new ConflictError('its definition has no trigger of the kind webhook: add one first');
      return { workflow: await prisma.workflow.update({ where: { id }, data }), secret };
    },

    async receive(request) {
      const workflow = await find(request.workflowId);
      const secret = workflow?.webhookSecret ? keyring.decrypt(workflow.webhookSecret, contextOf(workflow.id)) : null;
      if (!workflow || secret === null) return refusal(404, 'there is no webhook at this path');
      const { id: requestId, timestamp, signature, body } = request;
      if (!requestId || requestId.length > MAX_ID_LENGTH || !timestamp || !signature)
        return refusal(400, 'the headers webhook-id, webhook-timestamp and webhook-signature have to be given');
      if (!isSigned(secret, { id: requestId, timestamp, body }, signature))
        return refusal(401, 'the signature is not one of the secret of this webhook');
      const age = Math.abs(clock.now().getTime() - Number(timestamp) * SECOND_MS);
      if (!(age <= WEBHOOK_TOLERANCE_MS)) return refusal(400, 'webhook-timestamp is too far from the present time');
      const given = readJson(body);
      if (given === undefined) return refusal(400, 'the body has to be JSON');
      const executionId = await begin(workflow, requestId, given);
      if (executionId === null) return refusal(409, 'no run was begun: the event workflow.skipped says why');
      return { status: 202, body: { executionId: encodeGlobalId('Execution', executionId) } };
    },

    async pruneRequests(now) {
      const before = new Date(now.getTime() - WEBHOOK_MEMORY_MS);
      await prisma.$executeRaw`delete from workflow_webhook_requests where created_at < ${before}`;
    },
  };

  async function find(globalId: string): Promise<Workflow | null> {
    const id = decodeIdOf('Workflow', globalId);
    if (id === null) return null;
    return prisma.workflow.findFirst({
      where: { id, organization: { isActive: true }, triggers: { some: { kind: 'webhook' } } },
    });
  }

  /** Once for a request's id: what came before it waits for the first, and is told of the same run. */
  async function begin({ id, organizationId, version }: Workflow, requestId: string, body: unknown) {
    return changeBySystem(prisma, async (tx, record) => {
      await tx.$queryRaw`select 1 from workflows where id = ${id}::uuid for no key update`;
      const [former] = await tx.$queryRaw<{ executionId: string }[]>`
        select execution_id as "executionId" from workflow_webhook_requests where workflow_id = ${id}::uuid and request_id = ${requestId}`;
      if (former) return former.executionId;
      const where = { workflowId_version: { workflowId: id, version } };
      const { triggers } = (await tx.workflowVersion.findUniqueOrThrow({ where })).definition as WorkflowDefinition;
      const { input } = triggers.find(({ kind }) => kind === 'webhook')!;
      const about = { workflowId: id, organizationId, trigger: 'WEBHOOK' as const };
      const begun = await beginTriggered(tx, record, { ...about, input, values: { body } });
      if (begun !== null)
        await tx.$executeRaw`
          insert into workflow_webhook_requests (workflow_id, request_id, execution_id) values (${id}::uuid, ${requestId}, ${begun}::uuid)`;
      return begun;
    });
  }
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body === '' ? 'null' : body);
  } catch {
    return undefined;
  }
}

function refusal(status: number, message: string): WebhookAnswer {
  return { status, body: { message } };
}
