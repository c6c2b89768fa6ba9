#include "plain_driver.h"

#include "plain_avro.c"

static int read_one(const uint8_t *data, int32_t length) {
    /* event_id: string; event_ts: null, double; pad: null, bytes, boolean, float, long; title_id: null, string */
    const int32_t slots[] = {0, 2, -1, 1}, kind_ends[] = {1, 3, 8, 10}, offsets[] = {0, length};
    const uint8_t is_union[] = {0, 1, 1, 1};
    const uint8_t kinds[] = {STRING, NOTHING, DOUBLE, NOTHING, BYTES, BOOLEAN, FLOAT, LONG, NOTHING, STRING};
    const double per_second[] = {1, 1, 1, 1};
    int32_t begins[2], lengths[3];
    double numbers[1];
    int64_t sizes[2];
    uint8_t is_plain;
    plain_avro_read(data, offsets, 1, slots, kind_ends, is_union, kinds, per_second, 4, 2, 3, 3, begins, lengths, numbers,
                    sizes, &is_plain);
    for (int slot = 0; slot < 2; slot++) {
        if (lengths[slot] < 0) continue;
        if (sizes[slot] != lengths[slot] || begins[slot] + lengths[slot] > length) return -1;
    }
    return is_plain;
}
