#include "daemon/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/activation.h"

static void complain(const struct config_listener *config, const char *format, ...)
	PRINTF_LIKE(2, 3);

static void complain(const struct config_listener *config, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_error("%s:%u:%u: listener \"%s\": %s", config->mark.file, config->mark.line,
		  config->mark.column, config->name, text);
}

/* What is asked for, as the configuration names it. */
static void wanted_address(const struct config_listener *config, char *text, size_t size)
{
	const char *host = config->host ? config->host : "::";

	if (config->kind == CONFIG_HOST_PORT)
		snprintf(text, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, config->port);
	else
		snprintf(text, size, "%s%s", config->kind == CONFIG_ABSTRACT ? "@" : "",
			 config->path);
}

/* What a person can do about it; starts with a separator or is empty. */
static const char *advice(const struct config_listener *config, int error)
{
	switch (error) {
	case -EADDRINUSE:
		if (config->kind == CONFIG_PATH)
			return "; a program answers on it, or it is no socket: stop that program "
			       "or remove the file";
		return "; another program listens there: \"ss -ltnpx\" names it";
	case -EACCES:
		if (config->kind == CONFIG_HOST_PORT)
			return "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
		return "; usherd may not make a file there";
	case -EADDRNOTAVAIL:
		return "; this machine has no such address";
	case -ENOENT:
		return "; the folder does not exist";
	default:
		return "";
	}
}

static struct bind_options own_options(const struct config_listener *config)
{
	return (struct bind_options){
		.host = config->host,
		.has_port = config->kind == CONFIG_HOST_PORT,
		.port = config->port,
		.path = config->path,
		.backlog = config->backlog,
		.ipv6_only = config->ipv6_only,
		.replace_stale = true,
		.set_mode = config->has_mode,
		.mode = config->mode,
		.set_owner = config->kind == CONFIG_PATH,
		.uid = config->uid,
		.gid = config->gid,
	};
}

/* The workers of an usherd that was killed stop listening when they hear of it, which nobody tells
 * us: it is tried again. */
static int bind_patiently(const struct bind_options *options, unsigned int *patience_ms,
			  struct bound *ret, const char **ret_syscall)
{
	int error = -EADDRINUSE;

	for (unsigned int pause = 10; error == -EADDRINUSE && *patience_ms > 0; pause *= 2) {
		if (pause > *patience_ms)
			pause = *patience_ms;
		poll(NULL, 0, (int)pause);
		*patience_ms -= pause;
		error = bind_open(options, ret, ret_syscall);
	}
	return error;
}

static int open_bound(const struct config_listener *config, const struct bind_options *options,
		      unsigned int *patience_ms, struct bound *ret)
{
	char address[LISTENER_ADDRESS_SIZE];
	const char *syscall = "bind";
	int error = bind_open(options, ret, &syscall);

	wanted_address(config, address, sizeof(address));
	if (error == -EADDRINUSE && *patience_ms > 0) {
		log_info("listener \"%s\": %s is in use; trying again for up to %u ms",
			 config->name, address, *patience_ms);
		error = bind_patiently(options, patience_ms, ret, &syscall);
	}
	if (error < 0) {
		complain(config, "cannot listen on %s: %s (%s)%s", address,
			 net_error_message(error), syscall, advice(config, error));
	}
	return error;
}

/* The kernel lets every program of our user join a port that is opened for reuse: a socket that is
 * not tells whether one is there already. */
static int open_reusable(const struct config_listener *config, struct bind_options *options,
			 unsigned int *patience_ms, struct bound *ret)
{
	struct bound probe;
	int error = config->port ? open_bound(config, options, patience_ms, &probe) : 0;

	if (error < 0)
		return error;
	if (config->port)
		bound_close(&probe);
	options->reuse_port = true;
	return open_bound(config, options, patience_ms, ret);
}

static int open_own(const struct config_listener *config, unsigned int *patience_ms,
		    struct bound *ret)
{
	struct bind_options options = own_options(config);
	char abstract[LISTENER_ADDRESS_SIZE];

	if (config->distribute == DISTRIBUTE_REUSE_PORT)
		return open_reusable(config, &options, patience_ms, ret);
	if (config->kind == CONFIG_ABSTRACT) {
		snprintf(abstract, sizeof(abstract), "@%s", config->path);
		options.path = abstract;
	}
	return open_bound(config, &options, patience_ms, ret);
}

/* A descriptor that came from outside: ours from now on, but its file is not. */
static int adopt(const struct config_listener *config, int fd, struct bound *ret)
{
	const char *syscall;
	int error = bind_adopt(fd, 0, ret, &syscall);

	if (error < 0)
		complain(config, "descriptor %d cannot be used: %s (%s)", fd, strerror(-error),
			 syscall);
	return error;
}

static int open_fd(const struct config_listener *config, unsigned int *patience_ms,
		   struct bound *ret)
{
	int error = activation_take_fd(config->fd);

	/* Whoever started us may just have left it open. */
	if (error == -ENOENT)
		error = bind_check_listening(config->fd);
	if (error == -EBUSY) {
		complain(config,
			 "another listener has taken descriptor %d, by the name under which "
			 "systemd passed it; leave one of the two out",
			 config->fd);
		return error;
	}
	if (error < 0) {
		complain(config, "descriptor %d is not a listening stream socket", config->fd);
		return -ENOTSOCK;
	}
	return adopt(config, config->fd, ret);
}

static int open_systemd(const struct config_listener *config, unsigned int *patience_ms,
			struct bound *ret)
{
	int fd = activation_take(config->systemd_name);

	if (fd >= 0)
		return adopt(config, fd, ret);
	if (fd == -ENOENT)
		complain(config,
			 "systemd passed no socket named \"%s\"; start the .socket unit that has "
			 "FileDescriptorName=%s",
			 config->systemd_name, config->systemd_name);
	else if (fd == -EBUSY)
		complain(config,
			 "another listener has taken the socket \"%s\" from systemd, by its "
			 "number; leave one of the two out",
			 config->systemd_name);
	else
		complain(config, "the socket \"%s\" from systemd is not a listening stream: %s",
			 config->systemd_name, strerror(-fd));
	return fd == -ENOENT || fd == -EBUSY ? fd : -ENOTSOCK;
}

/* The socket is the listener's, or closed. */
static int add_handle(struct listener *l, struct bound *bound)
{
	struct handle *more = reallocarray(l->handles, l->n_handles + 1, sizeof(*more));

	if (!more) {
		bound_close(bound);
		return -ENOMEM;
	}
	more[l->n_handles++] = (struct handle){.bound = *bound};
	l->handles = more;
	return 0;
}

/* Opens one more at the address that the first one got, whatever was asked for. */
static int open_another(struct listener *l)
{
	struct bind_options options = own_options(l->config);
	struct net_address first;
	unsigned int patience_ms = 0;
	struct bound bound;
	int error;

	addr_to_net(&l->handles[0].bound.addr, &first);
	if (l->config->host)
		options.host = first.address;
	options.port = first.port;
	options.reuse_port = true;
	error = open_bound(l->config, &options, &patience_ms, &bound);
	return error < 0 ? error : add_handle(l, &bound);
}

int listener_grow(struct listener *l, unsigned int slots)
{
	int error = 0;

	while (error == 0 && l->config->distribute == DISTRIBUTE_REUSE_PORT && l->n_handles < slots)
		error = open_another(l);
	return error;
}

static int open_first(struct listener *l, unsigned int *patience_ms)
{
	typedef int open_fn(const struct config_listener *, unsigned int *, struct bound *);
	static open_fn *const open_kind[] = {
		[CONFIG_HOST_PORT] = open_own,   [CONFIG_PATH] = open_own,
		[CONFIG_ABSTRACT] = open_own,    [CONFIG_FD] = open_fd,
		[CONFIG_SYSTEMD] = open_systemd,
	};
	struct bound bound;
	int error = open_kind[l->config->kind](l->config, patience_ms, &bound);

	return error < 0 ? error : add_handle(l, &bound);
}

/* What a passed socket is shows here only. */
static int check_family(struct listener *l)
{
	l->family = l->handles[0].bound.addr.sa.sa_family;
	if (l->family != AF_UNIX || l->config->distribute != DISTRIBUTE_SOURCE_HASH)
		return 0;
	complain(l->config, "the clients of a Unix socket have no address for source-hash");
	return -EAFNOSUPPORT;
}

/* Who accepts, for the log. */
static const char *manner(const struct config_listener *config)
{
	return config->exclusive ? "exclusive" : distribute_name(config->distribute);
}

/* Of an IPv4-mapped address (RFC 4291, 2.5.5.2) the IPv4 one, which more programs take; any other
 * as it is. */
static struct addr unmapped(const struct addr *a)
{
	struct addr in;

	if (addr_family(a) != 6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return *a;
	addr_any(AF_INET, addr_port(a), &in);
	memcpy(&in.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], sizeof(in.in.sin_addr));
	return in;
}

/* By what name a client on this machine reaches the listener. */
static void write_host(const struct addr *bound, char *text, size_t size)
{
	const struct addr a = unmapped(bound);
	struct net_address net;

	addr_to_net(&a, &net);
	if (net.family == 6 && IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr))
		snprintf(text, size, "localhost");
	else if (net.family == 4 && a.in.sin_addr.s_addr == htonl(INADDR_ANY))
		snprintf(text, size, "127.0.0.1");
	else
		snprintf(text, size, "%s", net.address);
}

/* Writes a command that connects to the listener, for people who want to try it. */
static void write_hint(const struct listener *l, char *text, size_t size)
{
	const struct addr *a = &l->handles[0].bound.addr;
	char host[NET_ADDRESS_SIZE];

	if (addr_family(a) != 0) {
		write_host(a, host, sizeof(host));
		snprintf(text, size, "printf hi | nc -N %s %u", host, addr_port(a));
	} else if (l->address[0] == '@') {
		snprintf(text, size, "printf hi | socat - ABSTRACT-CONNECT:%s", l->address + 1);
	} else {
		snprintf(text, size, "printf hi | nc -N -U %s", l->address);
	}
}

bool listener_is_passed(const struct config_listener *config)
{
	return config->kind == CONFIG_FD || config->kind == CONFIG_SYSTEMD;
}

int listener_open(const struct config_listener *config, uint32_t id, unsigned int slots,
		  unsigned int *patience_ms, struct listener *ret)
{
	char hint[LISTENER_ADDRESS_SIZE + 64];
	int error;

	*ret = (struct listener){.config = config};
	ret->source = (struct source){
		.id = id,
		.fd = -1,
		.policy = distribute_policy(config->distribute),
		.hash_port = config->hash_port,
	};
	error = open_first(ret, patience_ms);
	if (error == 0)
		error = check_family(ret);
	if (error == 0)
		error = listener_grow(ret, slots);
	if (error < 0) {
		listener_close(ret);
		return error;
	}

	ret->source.fd = ret->handles[0].bound.fd;
	addr_format(&ret->handles[0].bound.addr, ret->address, sizeof(ret->address));
	write_hint(ret, hint, sizeof(hint));
	log_info("listener \"%s\" (%s, %s) listens on %s; try: %s", config->name,
		 handler_name(config->handler), manner(config), ret->address, hint);
	return 0;
}

void listener_close(struct listener *l)
{
	for (size_t i = 0; i < l->n_handles; i++)
		bound_close(&l->handles[i].bound);
	free(l->handles);
	l->handles = NULL;
	l->n_handles = 0;
}

bool listener_has_owners(const struct listener *l)
{
	return l->config->exclusive || l->config->distribute == DISTRIBUTE_REUSE_PORT;
}

const char *listener_kind(const struct listener *l)
{
	if (l->family != AF_UNIX)
		return "tcp";
	return l->address[0] == '@' ? "abstract" : "unix";
}
