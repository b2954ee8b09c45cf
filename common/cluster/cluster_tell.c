/* The events of a worker, told to the user of its master. */
#include <sys/wait.h>

#include "common/cluster/cluster_impl.h"

#define ERROR_SIZE 4096 /* of a text with a path */

void member_tell(struct member *m, member_event_fn *fn)
{
	if (fn)
		fn(m->cluster, &m->worker, m->cluster->ctx);
}

void member_tell_error(struct member *m, int code, const char *syscall_name, const char *what)
{
	struct cluster *c = m->cluster;
	struct net_error error;
	char text[ERROR_SIZE];

	if (!c->ops->on_error)
		return;
	cluster_worker_error(code, syscall_name, what, text, sizeof(text), &error);
	c->ops->on_error(c, &m->worker, &error, c->ctx);
}

void member_tell_exit(struct member *m)
{
	struct cluster *c = m->cluster;
	int status = m->process.status;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (c->ops->on_exit)
		c->ops->on_exit(c, &m->worker, code, number, c->ctx);
}
