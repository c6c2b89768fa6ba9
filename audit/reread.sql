-- grain:    one row per source: how many records of files that were read again, and the first few places.
-- purpose:  each record of a file that is done must be in bronze at its ordinal with its bytes, unless it was taken out
--           on purpose.
-- reads:    reread (source_id, kafka_offset, place, digest), of_files (files.sql), positions (positions.sql)
select 'not_as_in_file' as kind, reread.source_id, count(*) as records, min(reread.place, 5) as first_places
from reread
left join (select source_id, kafka_offset, place, md5(value) as digest from of_files) as held
    on reread.source_id = held.source_id and reread.kafka_offset = held.kafka_offset
left join positions on reread.source_id = positions.source_id and reread.kafka_offset = positions.kafka_offset
where
    (held.kafka_offset is null and not coalesce(is_forgotten or is_expired, false))
    or (
        held.kafka_offset is not null
        and (held.place is distinct from reread.place or held.digest is distinct from reread.digest)
    )
group by all
order by all
