/* What the readers of plain records have in common: where they are in a record, and the columns that they fill. */
#include <stdint.h>
#include <string.h>

#define MOST_SLOTS 32 /* bits of a reader's `seen`; plain.py checks it */

typedef struct {
    const uint8_t *at, *end;
} Cursor;

/* What one record says, by slot: where its texts begin in `data` and their lengths, and its numbers, from slot `texts`
 * on; length -1 for none, 0 for a number that is there. */
typedef struct {
    int32_t begins[MOST_SLOTS], lengths[MOST_SLOTS];
    double numbers[MOST_SLOTS];
} Row;

/* What all records say. Slots below `texts` hold text, the others up to `slots` numbers.
 *
 * begins, lengths [slots][rows]: as in Row
 * numbers         [slots - texts][rows]
 * sizes           [texts]: bytes of all rows' texts
 * kinds           [rows]: what the reader said of it, 0 if it isn't plain; such a record has no values
 */
typedef struct {
    int64_t rows;
    int32_t texts, slots;
    int32_t *begins, *lengths;
    double *numbers;
    int64_t *sizes;
    uint8_t *kinds;
} Columns;

static inline void clear(Row *row, const Columns *columns) {
    for (int32_t slot = 0; slot < columns->slots; slot++) row->lengths[slot] = -1;
}

static inline void keep(const Columns *columns, int64_t number, const Row *row, int kind) {
    columns->kinds[number] = (uint8_t)kind;
    for (int32_t slot = 0; slot < columns->slots; slot++) {
        const int32_t length = kind ? row->lengths[slot] : -1;
        columns->lengths[slot * columns->rows + number] = length;
        if (slot >= columns->texts) {
            columns->numbers[(slot - columns->texts) * columns->rows + number] = row->numbers[slot - columns->texts];
        } else if (length >= 0) {
            columns->begins[slot * columns->rows + number] = row->begins[slot];
            columns->sizes[slot] += length;
        }
    }
}
