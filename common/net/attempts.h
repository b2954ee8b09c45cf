/* Connects to whichever of several addresses answers first.
 *
 * The addresses are tried in the order given, but with families in turn, so that a broken IPv6 or
 * IPv4 costs one delay and not one for each address. An attempt starts when the one before it has
 * failed, or has been silent for delay_ms; all that have started go on side by side, until one is
 * connected and the others are closed. There is no deadline: the kernel gives up when its SYN
 * retries are used up (tcp_syn_retries), the caller when it likes.
 *
 * Owns:   the module owns the attempts; they are gone when on_done has returned or
 *         attempts_cancel() was called. ops and ctx are borrowed for that time.
 * Errors: attempts_start() returns 0 or -errno; the status given to on_done is described there.
 * Order:  nothing is called or connected inside attempts_start(). For each address on_attempt,
 *         then perhaps on_attempt_failed; on_done once and last, unless cancelled. Attempts keep
 *         the loop alive.
 * Source: RFC 8305, sections 4 and 5; connect(2) on EINPROGRESS. */
#ifndef USHER_COMMON_NET_ATTEMPTS_H
#define USHER_COMMON_NET_ATTEMPTS_H

#include <ev.h>

#include "common/net/addr.h"

/* Different addresses that are tried; those beyond are left out. */
#define ATTEMPTS_MAX 64

#define ATTEMPTS_DELAY_MS 250

struct attempts;

struct attempts_failure {
	struct addr addr;
	int error;           /* -errno */
	const char *syscall; /* "socket", "bind" or "connect" */
};

struct attempts_result {
	/* 0; or the error of the only address, or NET_ERR_ALL_FAILED. */
	int status;
	int fd; /* connected, close-on-exec, non-blocking, and the callee's own; -1 on failure */
	const struct addr *winner;               /* NULL on failure */
	const struct attempts_failure *failures; /* in the order they came */
	size_t failure_count;
};

/* Any but on_done may be NULL. What they are given is valid until they return. */
struct attempts_ops {
	void (*on_attempt)(const struct addr *addr, void *ctx);
	void (*on_attempt_failed)(const struct attempts_failure *failure, void *ctx);
	void (*on_done)(const struct attempts_result *result, void *ctx);
};

struct attempts_request {
	const struct addr *addresses; /* IPv4 and IPv6, with their ports */
	size_t count;
	const struct addr *local; /* bind to this first; its port is not used. NULL: any */
	uint16_t local_port;      /* 0: any */
	unsigned delay_ms;        /* 0: ATTEMPTS_DELAY_MS */
};

/* request is copied. Returns -EINVAL without an address and for one of another kind, -ENOMEM. */
int attempts_start(struct ev_loop *loop, const struct attempts_request *request,
		   const struct attempts_ops *ops, void *ctx, struct attempts **ret);

/* Closes all that is open. Takes NULL. May be called in any of the ops; in on_done it does
 * nothing, since the attempts have ended and the descriptor is the callee's. */
void attempts_cancel(struct attempts *attempts);

#endif
