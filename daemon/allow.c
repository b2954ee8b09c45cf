#include "daemon/allow.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/supervisor.h"

/* So many lines about the listens of one process. */
#define LINES_MAX 100

/* --- which item of the list ------------------------------------------------------------------ */

static bool same_host(const struct config_allow *allow, const struct share_request *request,
		      const struct addr *addr)
{
	struct addr wanted, there;

	if (!allow->text)
		return true;
	if (addr_parse(allow->text, 0, &wanted) < 0)
		return request->text && strcasecmp(allow->text, request->text) == 0;
	/* A name whose address is not known yet: it is asked about again. */
	if (!addr)
		return true;
	there = *addr;
	addr_set_port(&there, 0);
	return addr_equal(&wanted, &there);
}

/* A folder is a beginning that ends where a name does. */
static bool is_below(const char *folder, const char *path)
{
	size_t size = strlen(folder);

	return strncmp(folder, path, size) == 0 &&
	       (path[size] == '\0' || path[size] == '/' || folder[size - 1] == '/');
}

/* By ".." a path could leave the folder that it seems to be in. */
static bool names_path(const char *folder, const char *path)
{
	size_t size = strlen(path);

	return is_below(folder, path) && !strstr(path, "/../") &&
	       !(size >= 3 && strcmp(path + size - 3, "/..") == 0);
}

static bool names(const struct config_allow *allow, const struct share_request *request,
		  const struct addr *addr)
{
	switch (allow->kind) {
	case CONFIG_ALLOW_PORTS:
		return request->kind == IPC_LISTEN_PORT && request->port >= allow->first &&
		       request->port <= allow->last && same_host(allow, request, addr);
	case CONFIG_ALLOW_PATH:
		return request->kind == IPC_LISTEN_PATH && request->text[0] == '/' &&
		       names_path(allow->text, request->text);
	case CONFIG_ALLOW_ABSTRACT:
		return request->kind == IPC_LISTEN_PATH && strcmp(allow->text, request->text) == 0;
	}
	return false;
}

static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	const struct supervisor *s = ctx;

	if (request->kind == IPC_LISTEN_FD)
		return SHARE_REFUSED;
	if (!s->config->has_allow)
		return SHARE_BY_WORKER;
	for (size_t i = 0; i < s->config->n_allow; i++)
		if (names(&s->config->allow[i], request, addr))
			return SHARE_BY_ANYBODY;
	return SHARE_REFUSED;
}

/* --- what the log says ----------------------------------------------------------------------- */

static struct child *child_of(struct holder *holder)
{
	return CONTAINER_OF(holder, struct child, holder);
}

/* What a worker makes us write it could make us write without end. */
static bool may_log(struct child *c)
{
	if (c->listen_lines == LINES_MAX)
		return false;
	if (++c->listen_lines == LINES_MAX)
		log_warning("%s: this is the last line about what it listens on", child_name(c));
	return true;
}

static void on_refused(struct holder *holder, const struct share_request *request, int error,
		       void *ctx)
{
	const struct supervisor *s = ctx;
	struct child *c = child_of(holder);
	char text[SHARE_TEXT_SIZE];

	if (!may_log(c))
		return;
	share_request_format(request, text, sizeof(text));
	if (request->kind == IPC_LISTEN_FD)
		log_warning("%s may not listen on %s: workers get no descriptor of usherd's",
			    child_name(c), text);
	else if (request->kind == IPC_LISTEN_PORT && !s->config->has_allow)
		log_warning("%s may not listen on %s: %s; allow_listen could grant it",
			    child_name(c), text, strerror(-error));
	else if (request->kind == IPC_LISTEN_PATH && !s->config->has_allow)
		log_warning("%s may not listen on %s: %s; its user could not make that file",
			    child_name(c), text, strerror(-error));
	else
		log_warning("%s may not listen on %s: %s; allow_listen says on what it may",
			    child_name(c), text, strerror(-error));
}

static void on_difference(struct holder *holder, const struct share_request *request,
			  const char *option, void *ctx)
{
	struct child *c = child_of(holder);
	char text[SHARE_TEXT_SIZE];

	if (!may_log(c))
		return;
	share_request_format(request, text, sizeof(text));
	log_warning("%s wants another %s on %s than the first who listened there; that one's stays",
		    child_name(c), option, text);
}

static void on_listening(struct holder *holder, const struct share *share, void *ctx)
{
	struct child *c = child_of(holder);
	char text[SHARE_TEXT_SIZE];
	struct supervisor *s = ctx;

	nudge_share(&s->nudge);
	if (!may_log(c))
		return;
	share_format(share, text, sizeof(text));
	log_info("%s listens on %s", child_name(c), text);
}

static void on_unreachable(struct holder *holder, int error, void *ctx)
{
	struct child *c = child_of(holder);

	log_error("%s cannot be told what it listens on: %s; killing it", child_name(c),
		  strerror(-error));
	child_kill(c);
}

const struct shares_ops allow_ops = {
	.permit = permit,
	.on_refused = on_refused,
	.on_difference = on_difference,
	.on_listening = on_listening,
	.on_unreachable = on_unreachable,
};
