/* Kafka messages as columns.
 *
 * A plugin of librdkafka (plugin.library.paths): conf_init hears of a client when it is made. The messages of the Kafka
 * partitions that are attached to a queue of our own are taken from it here, where each costs a tenth of a Python object;
 * all that calls back (rebalances, logs) stays in the client's own queue, which Python polls. Errors come by either.
 *
 * Called through ctypes (kafka_records.py), by one thread a queue.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* rd_kafka_message_t of rdkafka.h, of which wheels have no copy; part of librdkafka's ABI since 0.9. */
typedef struct {
    int err;
    void *topic;
    int32_t partition;
    void *value;
    size_t value_length;
    void *key;
    size_t key_length;
    int64_t offset;
    void *private;
} Message;

typedef int (*OnNew)(void *client, const void *conf, void *opaque, char *said, size_t size);

typedef void (*OnError)(void *client, int code, const char *reason, void *opaque);

static void (*set_error_cb)(void *conf, OnError on_error);
static int (*add_on_new)(void *conf, const char *name, OnNew on_new, void *opaque);
static void *(*queue_new)(void *client);
static void *(*queue_get_partition)(void *client, const char *topic, int32_t partition);
static void (*queue_forward)(void *from, void *to);
static void (*queue_destroy)(void *queue);
static ptrdiff_t (*consume_batch_queue)(void *queue, int timeout_ms, Message **messages, size_t most);
static void (*message_destroy)(Message *message);
static int64_t (*message_timestamp)(const Message *message, int *type);
static int (*message_headers)(const Message *message, void **headers);
static int (*header_get_all)(const void *headers, size_t place, const char **name, const void **value, size_t *length);

static const struct {
    void *address;
    const char *name;
} NEEDED[] = {
    {&set_error_cb, "rd_kafka_conf_set_error_cb"},
    {&add_on_new, "rd_kafka_conf_interceptor_add_on_new"},
    {&queue_new, "rd_kafka_queue_new"},
    {&queue_get_partition, "rd_kafka_queue_get_partition"},
    {&queue_forward, "rd_kafka_queue_forward"},
    {&queue_destroy, "rd_kafka_queue_destroy"},
    {&consume_batch_queue, "rd_kafka_consume_batch_queue"},
    {&message_destroy, "rd_kafka_message_destroy"},
    {&message_timestamp, "rd_kafka_message_timestamp"},
    {&message_headers, "rd_kafka_message_headers"},
    {&header_get_all, "rd_kafka_header_get_all"},
};

static _Thread_local void *newest_client;

/* What clients that this thread polls had to say, and nobody was told yet; of each code the first, since a topic that is
 * gone is said once for each Kafka partition, and whoever is told may ask the broker. */
static _Thread_local struct {
    int32_t code;
    char reason[512];
} errors_heard[16];
static _Thread_local int errors_waiting;

static void on_error(void *client, int code, const char *reason, void *opaque) {
    (void)client, (void)opaque;
    if (errors_waiting == (int)(sizeof errors_heard / sizeof *errors_heard)) return;
    for (int place = 0; place < errors_waiting; place++)
        if (errors_heard[place].code == code) return;
    errors_heard[errors_waiting].code = code;
    snprintf(errors_heard[errors_waiting++].reason, sizeof errors_heard->reason, "%s", reason ? reason : "");
}

/* That a Kafka partition is gone is queued among its messages, and librdkafka calls back when it takes that from there.
 * confluent-kafka's callback, which it sets last, needs a Python call around it, and aborts the process without one. So the
 * client gets ours; librdkafka passes its own configuration here. */
static int on_new(void *client, const void *conf, void *opaque, char *said, size_t size) {
    (void)opaque, (void)said, (void)size;
    set_error_cb((void *)conf, on_error);
    newest_client = client;
    return 0;
}

/* librdkafka calls this when a configuration names this library. It is the caller whose functions are used: a process
 * may hold several. Where one is missing the client is none of ours, which kafka_records_open
 * tells. */
int conf_init(void *conf, void **opaque, char *said, size_t size) {
    Dl_info caller;
    void *library = NULL;
    (void)opaque, (void)said, (void)size;
    if (dladdr(__builtin_return_address(0), &caller)) library = dlopen(caller.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library == NULL) return 0;
    for (size_t place = 0; place < sizeof NEEDED / sizeof *NEEDED; place++) {
        void *found = dlsym(library, NEEDED[place].name);
        if (found == NULL) return 0;
        memcpy(NEEDED[place].address, &found, sizeof found);
    }
    return add_on_new(conf, "playlake", on_new, NULL);
}

/* The client that this thread made last, and a queue for it; no queue where that one does not know this library. */
void kafka_records_open(void **client, void **queue) {
    *client = newest_client;
    *queue = newest_client ? queue_new(newest_client) : NULL;
    newest_client = NULL;
    errors_waiting = 0; /* of a former client of this thread, said as it was closed */
}

/* Send a Kafka partition's messages there from now on, also when it is assigned again. */
void kafka_records_attach(void *client, void *queue, const char *topic, int32_t partition) {
    void *own = queue_get_partition(client, topic, partition);
    if (own == NULL) return;
    queue_forward(own, queue);
    queue_destroy(own);
}

void kafka_records_close(void *queue) { queue_destroy(queue); }

/* Take up to so many messages and tell of each its Kafka partition, error code and offset; how many, -1 for none at all. */
int64_t kafka_records_take(void *queue, int timeout_ms, Message **messages, int64_t most, int32_t *partitions,
                           int32_t *errors, int64_t *offsets) {
    const ptrdiff_t count = consume_batch_queue(queue, timeout_ms, messages, (size_t)most);
    for (ptrdiff_t row = 0; row < count; row++) {
        partitions[row] = messages[row]->partition;
        errors[row] = messages[row]->err;
        offsets[row] = messages[row]->offset;
    }
    return count;
}

/* The oldest error that this thread heard of and was not told yet; whether there is one. */
int kafka_records_error(int32_t *code, char *reason, size_t size) {
    if (errors_waiting == 0) return 0;
    *code = errors_heard[0].code;
    snprintf(reason, size, "%s", errors_heard[0].reason);
    memmove(errors_heard, errors_heard + 1, (size_t)--errors_waiting * sizeof *errors_heard);
    return 1;
}

/* Bytes of all values, of all keys; all headers, the bytes of their names, of their values. */
void kafka_records_sizes(Message *const *messages, int64_t rows, int64_t *sizes) {
    memset(sizes, 0, 5 * sizeof *sizes);
    for (int64_t row = 0; row < rows; row++) {
        const Message *message = messages[row];
        void *headers;
        const char *name;
        const void *value;
        size_t length;
        if (message->value) sizes[0] += (int64_t)message->value_length;
        if (message->key) sizes[1] += (int64_t)message->key_length;
        if (message_headers(message, &headers) != 0) continue;
        for (size_t place = 0; header_get_all(headers, place, &name, &value, &length) == 0; place++) {
            sizes[2]++;
            sizes[3] += (int64_t)strlen(name);
            if (value) sizes[4] += (int64_t)length;
        }
    }
}

/* An Arrow array of bytes or text: a bit a row, and where the rows end, from 0 on. */
typedef struct {
    uint8_t *valid;
    int32_t *ends;
    uint8_t *data;
} Bytes;

static inline void put(const Bytes *array, int64_t row, const void *value, size_t length) {
    const int32_t from = array->ends[row];
    if (value) {
        array->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
        memcpy(array->data + from, value, length);
    } else {
        length = 0;
    }
    array->ends[row + 1] = from + (int32_t)length;
}

/* Fill the arrays that were made for these sizes, their bits and first ends 0; times in milliseconds, -1 for none. */
void kafka_records_fill(Message *const *messages, int64_t rows, int64_t *times, const Bytes *values, const Bytes *keys) {
    for (int64_t row = 0; row < rows; row++) {
        const Message *message = messages[row];
        int type;
        times[row] = message_timestamp(message, &type);
        put(values, row, message->value, message->value_length);
        put(keys, row, message->key, message->key_length);
    }
}

/* The same for headers: `lists` holds, for each row, where its headers end; no bit for a row that has none. */
void kafka_records_fill_headers(Message *const *messages, int64_t rows, const Bytes *lists, const Bytes *names,
                                const Bytes *values) {
    int32_t at = 0;
    for (int64_t row = 0; row < rows; row++) {
        void *headers;
        const char *name;
        const void *value;
        size_t length;
        if (message_headers(messages[row], &headers) == 0) {
            lists->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
            for (size_t place = 0; header_get_all(headers, place, &name, &value, &length) == 0; place++, at++) {
                put(names, at, name, strlen(name));
                put(values, at, value, length);
            }
        }
        lists->ends[row + 1] = at;
    }
}

void kafka_records_let_go(Message *const *messages, int64_t rows) {
    for (int64_t row = 0; row < rows; row++) message_destroy(messages[row]);
}
