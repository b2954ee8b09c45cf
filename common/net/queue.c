#include "common/net/queue.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/macros.h"

/* Small writes share a chunk of this size. */
#define CHUNK_MIN 2048

struct chunk {
	STAILQ_ENTRY(chunk) link;
	struct request *request; /* due with the last byte: nothing is added after that */
	size_t start;            /* sent so far */
	size_t size;             /* filled so far */
	size_t room;
	bool begun; /* what comes before it in its write was sent already */
	char data[];
};

void queue_init(struct queue *queue)
{
	STAILQ_INIT(&queue->chunks);
	queue->size = 0;
}

static int chunk_new(size_t size, struct chunk **ret)
{
	size_t room = size < CHUNK_MIN ? CHUNK_MIN : size;
	struct chunk *chunk;

	if (room > SIZE_MAX - sizeof(*chunk))
		return -ENOMEM;
	chunk = malloc(sizeof(*chunk) + room);
	if (!chunk)
		return -ENOMEM;

	chunk->request = NULL;
	chunk->start = 0;
	chunk->size = 0;
	chunk->room = room;
	chunk->begun = false;
	*ret = chunk;
	return 0;
}

/* What STAILQ_LAST() would give; glibc has none. */
static struct chunk *last_chunk(struct queue *queue)
{
	if (queue_is_empty(queue))
		return NULL;
	return CONTAINER_OF(queue->chunks.stqh_last, struct chunk, link.stqe_next);
}

/* The chunk that takes size bytes more: the last one, or a new one. */
static int chunk_for(struct queue *queue, size_t size, struct chunk **ret)
{
	struct chunk *last = last_chunk(queue);
	int r;

	if (last && !last->request && last->room - last->size >= size) {
		*ret = last;
		return 0;
	}

	r = chunk_new(size, ret);
	if (r < 0)
		return r;
	STAILQ_INSERT_TAIL(&queue->chunks, *ret, link);
	return 0;
}

int queue_append(struct queue *queue, const struct iovec *parts, int count, size_t skip,
		 size_t total, struct request *request)
{
	struct chunk *chunk;
	int r = chunk_for(queue, total - skip, &chunk);

	if (r < 0)
		return r;
	queue->size += total - skip;
	chunk->begun |= skip > 0;

	for (int i = 0; i < count; i++) {
		size_t from = skip < parts[i].iov_len ? skip : parts[i].iov_len;
		size_t size = parts[i].iov_len - from;

		if (size > 0)
			memcpy(chunk->data + chunk->size, (char *)parts[i].iov_base + from, size);
		chunk->size += size;
		skip -= from;
	}

	chunk->request = request;
	return 0;
}

static int fill_from(struct chunk *chunk, int fd, size_t size)
{
	while (chunk->size < size) {
		ssize_t n = read(fd, chunk->data + chunk->size, size - chunk->size);

		if (n > 0)
			chunk->size += (size_t)n;
		else if (n == 0)
			return -EIO;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int queue_prepend_from(struct queue *queue, int fd, size_t size)
{
	struct chunk *chunk;
	int r = chunk_new(size, &chunk);

	if (r < 0)
		return r;
	r = fill_from(chunk, fd, size);
	if (r < 0) {
		free(chunk);
		return r;
	}

	STAILQ_INSERT_HEAD(&queue->chunks, chunk, link);
	queue->size += size;
	return 0;
}

size_t queue_parts(const struct queue *queue, struct iovec *parts, size_t max)
{
	struct chunk *chunk;
	size_t count = 0;

	STAILQ_FOREACH (chunk, &queue->chunks, link) {
		if (count == max)
			break;
		parts[count].iov_base = chunk->data + chunk->start;
		parts[count++].iov_len = chunk->size - chunk->start;
	}
	return count;
}

static struct request *remove_first(struct queue *queue)
{
	struct chunk *chunk = STAILQ_FIRST(&queue->chunks);
	struct request *request = chunk->request;

	STAILQ_REMOVE_HEAD(&queue->chunks, link);
	queue->size -= chunk->size - chunk->start;
	free(chunk);
	return request;
}

bool queue_take_sent(struct queue *queue, size_t *sent, struct request **ret)
{
	struct chunk *chunk = STAILQ_FIRST(&queue->chunks);

	if (!chunk)
		return false;
	if (chunk->size - chunk->start > *sent) {
		chunk->start += *sent;
		queue->size -= *sent;
		return false;
	}

	*sent -= chunk->size - chunk->start;
	*ret = remove_first(queue);
	return true;
}

bool queue_take(struct queue *queue, bool *ret_begun, struct request **ret)
{
	struct chunk *chunk = STAILQ_FIRST(&queue->chunks);

	if (!chunk)
		return false;
	*ret_begun = chunk->begun || chunk->start > 0;
	*ret = remove_first(queue);
	return true;
}
