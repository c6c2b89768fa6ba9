-- The fields of JSON records that playlake does not know: their names and values.
--
-- follows:  `parsed`, from parse_json.sql; the two together are one statement.
-- grain:    one row in, one row out.
-- gives:    row_number; names, each once, none of a record that has none; rescued, name → value: text as it is, all else as its JSON text, JSON null as
--           null
-- promise:  total and pure. Asked for few records, since json_keys reads each once more (unknown_fields.py).
named as (
    select
        row_number, text,
        list_distinct(list_filter(
            json_keys(text),
            lambda name: name not in (
                'event_id', 'user_id', 'profile_id', 'session_id', 'title_id', 'content_id', 'event_type',
                'device_type', 'country', 'app_version', 'event_ts', 'playhead_s',
                'audio_language', 'ab_bucket', 'bitrate_kbps'
            )
        )) as names
    from parsed
)

select
    row_number,
    list_sort(names) as names,
    map_from_entries(list_transform(
        list_sort(names),
        -- as a JSON pointer (RFC 6901), in which any name can be written
        lambda name: struct_pack(
            k := name, v := json_extract_string(text, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
        )
    )) as rescued
from named
