-- grain:    one row per source: how many records of files that were read again, and the first few places.
-- purpose:  each record of a file that is done must be in bronze at its ordinal with its bytes, or have gone from there on purpose.
-- reads:    reread (source_id, kafka_offset, place, digest), of_files (files.sql), positions (positions.sql)
select 'not_as_in_file' as kind, reread.source_id, count(*) as records, min(reread.place, 5) as first_places
from reread
left join (select source_id, kafka_offset, place, md5(value) as digest from of_files) as held
    using (source_id, kafka_offset)
left join positions using (source_id, kafka_offset)
where
    not coalesce(is_expired or is_forgotten, false)
    and (held.place is distinct from reread.place or held.digest is distinct from reread.digest)
group by all
order by all
