#include "daemon/listener.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

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

static int open_own(const struct config_listener *config, struct bound *ret)
{
	char abstract[LISTENER_ADDRESS_SIZE];
	struct bind_options options = {
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
	char address[LISTENER_ADDRESS_SIZE];
	const char *syscall = "bind";

	if (config->kind == CONFIG_ABSTRACT) {
		snprintf(abstract, sizeof(abstract), "@%s", config->path);
		options.path = abstract;
	}
	int error = bind_open(&options, ret, &syscall);

	if (error < 0) {
		wanted_address(config, address, sizeof(address));
		complain(config, "cannot listen on %s: %s (%s)%s", address,
			 net_error_message(error), syscall, advice(config, error));
	}
	return error;
}

static bool is_listening_stream(int fd)
{
	int type = 0, listening = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
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

static int open_fd(const struct config_listener *config, struct bound *ret)
{
	if (!is_listening_stream(config->fd)) {
		complain(config, "descriptor %d is not a listening stream socket", config->fd);
		return -ENOTSOCK;
	}
	return adopt(config, config->fd, ret);
}

static int open_systemd(const struct config_listener *config, struct bound *ret)
{
	int fd = activation_take(config->systemd_name);

	if (fd >= 0)
		return adopt(config, fd, ret);
	if (fd == -ENOENT)
		complain(config,
			 "systemd passed no socket named \"%s\"; start the .socket unit that has "
			 "FileDescriptorName=%s",
			 config->systemd_name, config->systemd_name);
	else
		complain(config, "the socket \"%s\" from systemd is not a listening stream: %s",
			 config->systemd_name, strerror(-fd));
	return fd;
}

int listener_open(const struct config_listener *config, uint32_t id, struct listener *ret)
{
	typedef int open_fn(const struct config_listener *, struct bound *);
	static open_fn *const open_kind[] = {
		[CONFIG_HOST_PORT] = open_own,   [CONFIG_PATH] = open_own,
		[CONFIG_ABSTRACT] = open_own,    [CONFIG_FD] = open_fd,
		[CONFIG_SYSTEMD] = open_systemd,
	};
	char hint[LISTENER_ADDRESS_SIZE + 64];
	int error;

	*ret = (struct listener){.id = id, .config = config, .bound.fd = -1};
	error = open_kind[config->kind](config, &ret->bound);
	if (error < 0) {
		ret->bound.fd = -1;
		return error;
	}

	addr_format(&ret->bound.addr, ret->address, sizeof(ret->address));
	listener_hint(ret, hint, sizeof(hint));
	log_info("listener \"%s\" (%s%s) listens on %s; try: %s", config->name,
		 handler_name(config->handler), config->exclusive ? ", exclusive" : "",
		 ret->address, hint);
	return 0;
}

void listener_close(struct listener *l)
{
	if (l->bound.fd == -1)
		return;
	bound_close(&l->bound);
	l->bound.fd = -1;
}

const char *listener_kind(const struct listener *l)
{
	if (l->bound.addr.sa.sa_family != AF_UNIX)
		return "tcp";
	return l->address[0] == '@' ? "abstract" : "unix";
}

void listener_hint(const struct listener *l, char *text, size_t size)
{
	const struct addr *a = &l->bound.addr;

	if (a->sa.sa_family == AF_INET6)
		snprintf(text, size, "printf hi | nc -N %s %u",
			 IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr) ? "localhost" : "::1",
			 ntohs(a->in6.sin6_port));
	else if (a->sa.sa_family == AF_INET)
		snprintf(text, size, "printf hi | nc -N %s %u", "127.0.0.1", ntohs(a->in.sin_port));
	else if (l->address[0] == '@')
		snprintf(text, size, "printf hi | socat - ABSTRACT-CONNECT:%s", l->address + 1);
	else
		snprintf(text, size, "printf hi | nc -N -U %s", l->address);
}
