/* Bytes that wait to be sent, and the completions that are due with the last of them.
 *
 * Owns:   copies of the bytes. Completions (struct request) are only carried: who takes one out
 *         answers it, and a queue must be emptied before it is forgotten.
 * Errors: 0 or -errno; after a failure the queue is as it was.
 * Memory: small pieces share one allocation; a piece is freed as soon as it is sent. */
#ifndef USHER_COMMON_NET_QUEUE_H
#define USHER_COMMON_NET_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/uio.h>

struct chunk;
struct request;

struct queue {
	STAILQ_HEAD(, chunk) chunks;
	size_t size; /* bytes */
};

void queue_init(struct queue *queue);

/* A queue of no bytes may still hold completions of empty writes. */
static inline bool queue_is_empty(const struct queue *queue)
{
	return STAILQ_EMPTY(&queue->chunks);
}

/* Copies what follows the first skip bytes of parts, which are total bytes. request may be NULL. */
int queue_append(struct queue *queue, const struct iovec *parts, int count, size_t skip,
		 size_t total, struct request *request);

/* Puts size bytes that can be read from fd before all others. */
int queue_prepend_from(struct queue *queue, int fd, size_t size);

/* Fills parts with what is to be sent next; returns how many of them. */
size_t queue_parts(const struct queue *queue, struct iovec *parts, size_t max);

/* Takes off the first piece if it lies within the first *sent bytes, and counts it off *sent;
 * *ret is its completion or NULL. Else takes *sent bytes off the first piece, and returns false. */
bool queue_take_sent(struct queue *queue, size_t *sent, struct request **ret);

/* Takes off the first piece, sent or not. *ret_begun: some of it was sent. */
bool queue_take(struct queue *queue, bool *ret_begun, struct request **ret);

#endif
