-- What an agent or a workflow asked for names it, in place of the person whose rights it has, and the execution that asked.

-- AlterTable
ALTER TABLE "deployments" ADD COLUMN     "agent_id" UUID,
ADD COLUMN     "execution_id" UUID,
ADD COLUMN     "workflow_id" UUID;

-- AlterTable
ALTER TABLE "executions" ADD COLUMN     "event_depth" INTEGER NOT NULL DEFAULT 0;
