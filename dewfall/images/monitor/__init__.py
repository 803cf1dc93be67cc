"""The sagemaker-model-monitor-analyzer image: baselines of data and models, and what has changed since.

__main__     reads the environment, runs one analysis, writes its files
settings     the environment variables of the contract
records      captured requests, CSV, JSON lines and Parquet into tables of text
scripts      the customer's pre- and post-processing
truth        ground truth joined to captured predictions
data         data quality: statistics, constraints, violations, drift
model        model quality: metrics, constraints, violations
clarified    bias and attribution drift of captured data, by Clarify's analyses
unlabelled   what to expect of captured requests without ground truth
page         the report for people: drift table, distributions, trend over the last runs
outcome      the files and CloudWatch metrics that an analysis leaves
"""
