-- The quality scorecard of the chosen dates, and the shares that matter.
select
    *,
    quarantined_rows / nullif(silver_rows + quarantined_rows + null_partition_rows, 0) as bad_share,
    warned_rows / nullif(silver_rows, 0) as warned_share,
    late_rows / nullif(silver_rows, 0) as late_share
from gold.quality_scorecard
where event_date between $first and $last
order by event_date
