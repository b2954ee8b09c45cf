#include "daemon/overflow.h"

#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"

static const char *const names[OVERFLOW_END] = {
#define X(way, name) [OVERFLOW_##way] = (name),
	OVERFLOW_TABLE(X)
#undef X
};

const char *overflow_name(unsigned int way)
{
	return names[way];
}

int overflow_find(const char *name, enum overflow *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) != 0)
			continue;
		*ret = (enum overflow)i;
		return 0;
	}
	return -ENOENT;
}

/* A connection that is gone already need not be told. */
static void tell_end(int fd, enum overflow way)
{
	const struct linger at_once = {.l_onoff = 1};

	if (way == OVERFLOW_RESET)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	else
		/* Closing alone would reset a client that has sent something. */
		shutdown(fd, SHUT_WR);
}

int overflow_turn_away(int listening, enum overflow way)
{
	AUTO_CLOSE int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd == -1)
		return -errno;
	tell_end(fd, way);
	return 0;
}
