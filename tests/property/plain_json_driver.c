#include "plain_driver.h"

#include "plain_json.c"

static int read_one(const uint8_t *data, int32_t length) {
    const uint8_t names[] = "event_idtitle_idcontent_idevent_ts";
    const int32_t name_ends[] = {8, 16, 26, 34}, name_slots[] = {0, 1, 1, 2}, offsets[] = {0, length};
    int32_t begins[2], lengths[3];
    double numbers[1];
    int64_t sizes[2];
    uint8_t kind;
    plain_json_read(data, offsets, 1, names, name_ends, name_slots, 4, 2, 3, 3, begins, lengths, numbers, sizes, &kind);
    for (int slot = 0; slot < 2; slot++) {
        uint8_t valid, *text = malloc((size_t)sizes[slot]);
        int32_t ends[2];
        plain_json_gather(data, begins + slot, lengths + slot, 1, &valid, ends, text);
        if (ends[1] != sizes[slot]) return -1;
        free(text);
    }
    return kind != 0;
}
