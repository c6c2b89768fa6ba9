-- grain:    one row per kind of fault and source: how many records of the stream, and the first few sequence numbers.
-- purpose:  each record that the stream still has, of those that are done, must be in bronze with its bytes.
-- reads:    retained (source_id, sequence_number, sub_sequence_number, value), numbered (shards.sql)
select
    case when kept.is_kept is null then 'lost' else 'other_bytes' end as kind,
    retained.source_id,
    count(*) as records,
    list_slice(list(retained.sequence_number order by retained.sequence_number), 1, 5) as first_numbers
from retained
left join (select *, true as is_kept from numbered) as kept
    using (source_id, sequence_number, sub_sequence_number)
where kept.is_kept is null or kept.value is distinct from retained.value
group by all
order by all
