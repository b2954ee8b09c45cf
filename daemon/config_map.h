/* Reads a YAML map through a table of its keys: each key has a function that reads its value into
 * a struct. What the table does not know, and what stands twice, is a complaint.
 *
 * Owns:   nothing; the document, the list of complaints and the target are the caller's.
 * Errors: 0; -EINVAL, with at least one complaint; -ENOMEM. Reading goes on after a complaint, so
 *         that all of them come together. */
#ifndef USHER_DAEMON_CONFIG_MAP_H
#define USHER_DAEMON_CONFIG_MAP_H

#include <stddef.h>
#include <yaml.h>

#include "daemon/config_errors.h"

struct config;
struct config_key;

/* One file on its way into a configuration. */
struct config_reader {
	struct config_errors *errors;
	struct config *config;
	struct config_mark file; /* name and rank */
	yaml_document_t *document;
	const char *context; /* stands before each complaint; NULL: nothing does */
};

/* Reads the value of a key into target, the struct that the table is about. */
typedef int config_value_fn(struct config_reader *reader, const struct config_key *key,
			    const yaml_node_t *value, void *target);

struct config_key {
	const char *name;
	config_value_fn *read; /* NULL: the key belongs to a later version */
	size_t offset;         /* of the key's member in target, for functions that serve many */
	unsigned long min;     /* for numbers, and durations in milliseconds */
	unsigned long max;
};

/* ret_given gets, for each row of the table, the node of the key where the map has it, or NULL. */
int config_map_read(struct config_reader *reader, const yaml_node_t *map,
		    const struct config_key *keys, size_t n_keys, void *target,
		    const yaml_node_t **ret_given);

/* The text of a scalar node; NULL when it is empty, no scalar, or has a NUL byte inside. */
const char *config_scalar(const yaml_node_t *node);

yaml_node_t *config_node(const struct config_reader *reader, int index);

/* Both add a complaint at the node's place and return -EINVAL; the second one says
 * `"KEY" must be EXPECTED, not VALUE`. */
int config_complain(struct config_reader *reader, const yaml_node_t *at, const char *format, ...)
	PRINTF_LIKE(3, 4);
int config_refuse(struct config_reader *reader, const char *key, const yaml_node_t *value,
		  const char *expected);

#endif
